# Batch normalisation and local response normalisation. Arrays x are (rows, C) whatever their axes; those of batch
# normalisation may be the first channels of a wider array.

def batch_norm(
    cnp.ndarray x, gamma, beta, double epsilon, tuple activation, cnp.ndarray mean, cnp.ndarray variance, cnp.ndarray y
):
    """x (..., C), gamma and beta (C,) or None -> mean, variance (C,), y."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_epilogue e = epilogue_of(None, activation)
    cdef int64_t C = cnp.PyArray_SIZE(mean), rows = cnp.PyArray_SIZE(x) // C, pitch = row_pitch(x)
    cdef void *scale = pointer(gamma)
    cdef void *shift = pointer(beta)
    cdef fc_status status
    with nogil:
        status = kernels.batch_norm(
            rows, C, pitch, cnp.PyArray_DATA(x), scale, shift, epsilon, &e, cnp.PyArray_DATA(mean),
            cnp.PyArray_DATA(variance), cnp.PyArray_DATA(y),
        )
    check(status)


def batch_norm_apply(
    cnp.ndarray x, cnp.ndarray mean, cnp.ndarray variance, gamma, beta, double epsilon, tuple activation, cnp.ndarray y
):
    """x (..., C); the others (C,), gamma and beta or None -> y."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_epilogue e = epilogue_of(None, activation)
    cdef int64_t C = cnp.PyArray_SIZE(mean), rows = cnp.PyArray_SIZE(x) // C, pitch = row_pitch(x)
    cdef void *scale = pointer(gamma)
    cdef void *shift = pointer(beta)
    cdef fc_status status
    with nogil:
        status = kernels.batch_norm_apply(
            rows, C, pitch, cnp.PyArray_DATA(x), cnp.PyArray_DATA(mean), cnp.PyArray_DATA(variance), scale, shift,
            epsilon, &e, cnp.PyArray_DATA(y),
        )
    check(status)


def batch_norm_backward(
    bint training, cnp.ndarray dy, cnp.ndarray x, gamma, beta, cnp.ndarray mean, cnp.ndarray variance, double epsilon,
    tuple activation, cnp.ndarray dx, dgamma, dbeta,
):
    """dy, x (..., C) -> dx and, unless they are None, dgamma and dbeta (C,)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_epilogue e = epilogue_of(None, activation)
    cdef int64_t C = cnp.PyArray_SIZE(mean), rows = cnp.PyArray_SIZE(x) // C, pitch = row_pitch(x)
    cdef void *scale = pointer(gamma)
    cdef void *shift = pointer(beta)
    cdef void *to_gamma = pointer(dgamma)
    cdef void *to_beta = pointer(dbeta)
    cdef fc_status status
    with nogil:
        status = kernels.batch_norm_backward(
            rows, C, training, cnp.PyArray_DATA(dy), pitch, cnp.PyArray_DATA(x), scale, shift,
            cnp.PyArray_DATA(mean), cnp.PyArray_DATA(variance), epsilon, &e, cnp.PyArray_DATA(dx), to_gamma, to_beta,
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
