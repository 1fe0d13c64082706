# Pooling. A geometry is the tuple (PH, PW, SH, SW, PT, PB, PL, PR).

cdef fc_pool2d pool_descriptor(tuple geometry, cnp.ndarray x, cnp.ndarray y) except *:
    """x (N, H, W, C) is the larger side, y (N, OH, OW, C) the smaller, in both directions."""
    cdef fc_pool2d d
    d.PH, d.PW, d.SH, d.SW, d.PT, d.PB, d.PL, d.PR = geometry
    d.N, d.H, d.W, d.C = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    d.OH, d.OW = y.shape[1], y.shape[2]
    return d


def max_pool2d(tuple geometry, cnp.ndarray x, cnp.ndarray y, argmax):
    """x (N, H, W, C) -> y (N, OH, OW, C) and, unless None, argmax (likewise, int32)."""
    cdef fc_pool2d d = pool_descriptor(geometry, x, y)
    cdef const fc_kernels *kernels = table_of(x)
    cdef int32_t *index = <int32_t *>pointer(argmax)
    cdef fc_status status
    with nogil:
        status = kernels.max_pool2d(&d, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), index)
    check(status)


def avg_pool2d(tuple geometry, bint include_pad, cnp.ndarray x, cnp.ndarray y):
    """x (N, H, W, C) -> y (N, OH, OW, C)."""
    cdef fc_pool2d d = pool_descriptor(geometry, x, y)
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_status status
    with nogil:
        status = kernels.avg_pool2d(&d, include_pad, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    check(status)


def avg_pool2d_backward(tuple geometry, bint include_pad, cnp.ndarray dy, cnp.ndarray dx):
    """dy (N, OH, OW, C) -> dx (N, H, W, C)."""
    cdef fc_pool2d d = pool_descriptor(geometry, dx, dy)
    cdef const fc_kernels *kernels = table_of(dy)
    cdef fc_status status
    with nogil:
        status = kernels.avg_pool2d_backward(&d, include_pad, cnp.PyArray_DATA(dy), cnp.PyArray_DATA(dx))
    check(status)


def max_pool2d_backward(cnp.ndarray dy, cnp.ndarray argmax, cnp.ndarray dx):
    """dy, argmax (N, OH, OW, C) -> dx (N, H, W, C)."""
    cdef const fc_kernels *kernels = table_of(dy)
    cdef int64_t N = dx.shape[0], P = dy.shape[1] * dy.shape[2], plane = dx.shape[1] * dx.shape[2], C = dx.shape[3]
    cdef fc_status status
    with nogil:
        status = kernels.max_pool2d_backward(
            N, P, plane, C, cnp.PyArray_DATA(dy), <int32_t *>cnp.PyArray_DATA(argmax), cnp.PyArray_DATA(dx)
        )
    check(status)


def max_pool2d_backward_windows(tuple geometry, cnp.ndarray dy, cnp.ndarray argmax, cnp.ndarray dx):
    """dy, argmax (N, OH, OW, C) -> dx (N, H, W, C), where argmax lies in the windows of the geometry."""
    cdef fc_pool2d d = pool_descriptor(geometry, dx, dy)
    cdef const fc_kernels *kernels = table_of(dy)
    cdef int32_t *index = <int32_t *>cnp.PyArray_DATA(argmax)
    cdef fc_status status
    with nogil:
        status = kernels.max_pool2d_backward_windows(&d, cnp.PyArray_DATA(dy), index, cnp.PyArray_DATA(dx))
    check(status)


def max_unpool2d(cnp.ndarray x, cnp.ndarray argmax, cnp.ndarray y):
    """x, argmax (N, OH, OW, C) -> y (N, H, W, C)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef int64_t N = y.shape[0], P = x.shape[1] * x.shape[2], plane = y.shape[1] * y.shape[2], C = y.shape[3]
    cdef fc_status status
    with nogil:
        status = kernels.max_unpool2d(
            N, P, plane, C, cnp.PyArray_DATA(x), <int32_t *>cnp.PyArray_DATA(argmax), cnp.PyArray_DATA(y)
        )
    check(status)


def max_unpool2d_backward(cnp.ndarray dy, cnp.ndarray argmax, cnp.ndarray dx):
    """dy (N, H, W, C), argmax (N, OH, OW, C) -> dx (N, OH, OW, C)."""
    cdef const fc_kernels *kernels = table_of(dy)
    cdef int64_t N = dy.shape[0], P = dx.shape[1] * dx.shape[2], plane = dy.shape[1] * dy.shape[2], C = dy.shape[3]
    cdef fc_status status
    with nogil:
        status = kernels.max_unpool2d_backward(
            N, P, plane, C, cnp.PyArray_DATA(dy), <int32_t *>cnp.PyArray_DATA(argmax), cnp.PyArray_DATA(dx)
        )
    check(status)
