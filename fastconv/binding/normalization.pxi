# Batch normalisation and local response normalisation. Arrays x are (rows, C) whatever their axes; those of batch
# normalisation may be the first channels of a wider array.

cdef fc_batch_norm batch_norm_of(cnp.ndarray x, int64_t C, gamma, beta, double epsilon, tuple activation):
    cdef fc_batch_norm b
    b.rows, b.C, b.x_pitch = cnp.PyArray_SIZE(x) // C, C, row_pitch(x)
    b.x, b.gamma, b.beta = cnp.PyArray_DATA(x), pointer(gamma), pointer(beta)
    b.epsilon, b.e = epsilon, epilogue_of(None, activation)
    return b


def batch_norm(
    cnp.ndarray x, gamma, beta, double epsilon, tuple activation, cnp.ndarray mean, cnp.ndarray variance, cnp.ndarray y
):
    """x (..., C), gamma and beta (C,) or None -> mean, variance (C,), y."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_batch_norm b = batch_norm_of(x, cnp.PyArray_SIZE(mean), gamma, beta, epsilon, activation)
    cdef fc_status status
    with nogil:
        status = kernels.batch_norm(&b, cnp.PyArray_DATA(mean), cnp.PyArray_DATA(variance), cnp.PyArray_DATA(y))
    check(status)


def batch_norm_apply(
    cnp.ndarray x, cnp.ndarray mean, cnp.ndarray variance, gamma, beta, double epsilon, tuple activation, cnp.ndarray y
):
    """x (..., C); the others (C,), gamma and beta or None -> y."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_batch_norm b = batch_norm_of(x, cnp.PyArray_SIZE(mean), gamma, beta, epsilon, activation)
    cdef fc_status status
    with nogil:
        status = kernels.batch_norm_apply(
            &b, cnp.PyArray_DATA(mean), cnp.PyArray_DATA(variance), cnp.PyArray_DATA(y)
        )
    check(status)


def batch_norm_backward(
    bint training, cnp.ndarray dy, cnp.ndarray x, gamma, beta, cnp.ndarray mean, cnp.ndarray variance, double epsilon,
    tuple activation, cnp.ndarray dx, dgamma, dbeta,
):
    """dy, x (..., C) -> dx and, unless they are None, dgamma and dbeta (C,)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_batch_norm b = batch_norm_of(x, cnp.PyArray_SIZE(mean), gamma, beta, epsilon, activation)
    cdef void *to_gamma = pointer(dgamma)
    cdef void *to_beta = pointer(dbeta)
    cdef fc_status status
    with nogil:
        status = kernels.batch_norm_backward(
            &b, training, cnp.PyArray_DATA(dy), cnp.PyArray_DATA(mean), cnp.PyArray_DATA(variance),
            cnp.PyArray_DATA(dx), to_gamma, to_beta,
        )
    check(status)


def lrn(tuple parameters, cnp.ndarray x, cnp.ndarray y):
    """x (..., C) -> y; parameters (radius, bias, alpha, beta)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_lrn d
    cdef int64_t C = x.shape[x.ndim - 1], rows = cnp.PyArray_SIZE(x) // C
    cdef fc_status status
    d.radius, d.bias, d.alpha, d.beta = parameters
    with nogil:
        status = kernels.lrn(rows, C, &d, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    check(status)


def lrn_backward(tuple parameters, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx):
    """dy, x (..., C) -> dx; parameters (radius, bias, alpha, beta)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_lrn d
    cdef int64_t C = x.shape[x.ndim - 1], rows = cnp.PyArray_SIZE(x) // C
    cdef fc_status status
    d.radius, d.bias, d.alpha, d.beta = parameters
    with nogil:
        status = kernels.lrn_backward(
            rows, C, &d, cnp.PyArray_DATA(dy), cnp.PyArray_DATA(x), cnp.PyArray_DATA(dx)
        )
    check(status)
