# Activations. Arrays are (rows, K) whatever their axes; ``activation`` is (kind, parameter, slope or None).

ACTIVATION_KINDS = {
    "linear": FC_LINEAR, "relu": FC_RELU, "relu6": FC_RELU6, "leaky_relu": FC_LEAKY_RELU, "elu": FC_ELU,
    "sigmoid": FC_SIGMOID, "tanh": FC_TANH, "softmax": FC_SOFTMAX, "prelu": FC_PRELU,
}


def activate(int64_t K, tuple activation, cnp.ndarray x, cnp.ndarray y):
    """x (..., K) -> y."""
    cdef fc_epilogue e = epilogue_of(None, activation)
    cdef const fc_kernels *kernels = table_of(x)
    cdef int64_t rows = cnp.PyArray_SIZE(x) // K
    cdef fc_status status
    with nogil:
        status = kernels.activate(rows, K, &e, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    check(status)


def activation_backward(tuple activation, cnp.ndarray dy, cnp.ndarray y, cnp.ndarray dx):
    """dy, y (..., K) -> dx."""
    cdef fc_epilogue e = epilogue_of(None, activation)
    cdef const fc_kernels *kernels = table_of(y)
    cdef int64_t K = y.shape[y.ndim - 1] if y.ndim else 1
    cdef int64_t rows = cnp.PyArray_SIZE(y) // K if K else 0
    cdef fc_status status
    with nogil:
        status = kernels.activation_backward(
            rows, K, &e, cnp.PyArray_DATA(dy), cnp.PyArray_DATA(y), cnp.PyArray_DATA(dx)
        )
    check(status)


def prelu_backward(cnp.ndarray slope, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx, dslope):
    """dy, x (rows, K), slope (K,) -> dx (rows, K) and, unless it is None, dslope (K,)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef int64_t K = cnp.PyArray_SIZE(slope), rows = cnp.PyArray_SIZE(x) // K
    cdef void *sums = pointer(dslope)
    cdef fc_status status
    with nogil:
        status = kernels.prelu_backward(
            rows, K, cnp.PyArray_DATA(slope), cnp.PyArray_DATA(dy), cnp.PyArray_DATA(x), cnp.PyArray_DATA(dx),
            sums,
        )
    check(status)
