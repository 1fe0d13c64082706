# Convolution. A geometry is the tuple (N, H, W, C, KH, KW, K, G, SH, SW, DH, DW, PT, PB, PL, PR).

cdef fc_conv2d descriptor(tuple geometry) except *:
    cdef fc_conv2d d
    (d.N, d.H, d.W, d.C, d.KH, d.KW, d.K, d.G, d.SH, d.SW, d.DH, d.DW, d.PT, d.PB, d.PL, d.PR) = geometry
    d.x_pitch = d.y_pitch = 0
    check(fc_conv2d_check(&d))
    return d


def im2col(tuple geometry, cnp.ndarray x, cnp.ndarray cols):
    """x (N, H, W, C) -> cols (N*OH*OW, KH*KW*C)."""
    cdef fc_conv2d d = descriptor(geometry)
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_status status
    with nogil:
        status = kernels.im2col(&d, cnp.PyArray_DATA(x), cnp.PyArray_DATA(cols))
    check(status)


def col2im(tuple geometry, cnp.ndarray cols, cnp.ndarray dx):
    """cols (N*OH*OW, KH*KW*C) -> dx (N, H, W, C)."""
    cdef fc_conv2d d = descriptor(geometry)
    cdef const fc_kernels *kernels = table_of(cols)
    cdef fc_status status
    with nogil:
        status = kernels.col2im(&d, cnp.PyArray_DATA(cols), cnp.PyArray_DATA(dx))
    check(status)
