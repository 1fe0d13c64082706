# Convolution. A geometry is the tuple (N, H, W, C, KH, KW, K, G, SH, SW, DH, DW, PT, PB, PL, PR).

CONV2D_PASSES = {
    "forward": FC_FORWARD, "backward_data": FC_BACKWARD_DATA, "backward_weights": FC_BACKWARD_WEIGHTS,
}


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


cdef inline const char *chosen(object algorithm):
    """Name of an algorithm as bytes, None for "auto"."""
    return NULL if algorithm is None else <const char *><bytes>algorithm


def conv2d_forward(tuple geometry, algorithm, cnp.ndarray x, cnp.ndarray kernel, prepared, bias, tuple activation,
                   cnp.ndarray y):
    """y (N, OH, OW, K) = activation(x (N, H, W, C) * kernel (KH, KW, C/G, K) + bias); prepared: of the kernel, or None.
    """
    cdef fc_conv2d d = descriptor(geometry)
    cdef fc_epilogue e = epilogue_of(bias, activation)
    cdef fc_dtype t = dtype_of(x)
    cdef const char *name = chosen(algorithm)
    cdef const void *values = pointer(prepared)
    cdef fc_status status
    with nogil:
        status = fc_conv2d_forward(&d, t, name, cnp.PyArray_DATA(x), cnp.PyArray_DATA(kernel), values, &e,
                                   cnp.PyArray_DATA(y))
    check(status)


def conv2d_choice(tuple geometry, int which, bint double, bint prepared):
    """Name of the algorithm that "auto" runs, with a prepared kernel or without."""
    cdef fc_conv2d d = descriptor(geometry)
    cdef fc_dtype t = FC_FLOAT64 if double else FC_FLOAT32
    return fc_conv2d_choice(&d, t, <fc_pass>which, prepared).decode()


def conv2d_prepare(tuple geometry, algorithm, cnp.ndarray kernel):
    """The kernel as ``algorithm`` wants it, or None if it takes it as it is."""
    cdef fc_conv2d d = descriptor(geometry)
    cdef fc_dtype t = dtype_of(kernel)
    cdef const char *name = chosen(algorithm)
    cdef fc_status status
    cdef int64_t size = fc_conv2d_prepared_size(&d, t, name)
    if size == 0:
        return None
    cdef cnp.ndarray values = empty((size,), kernel.dtype)
    with nogil:
        status = fc_conv2d_prepare(&d, t, name, cnp.PyArray_DATA(kernel), cnp.PyArray_DATA(values))
    check(status)
    return values


def set_conv2d_exact(bint on):
    fc_set_conv2d_exact(on)


def conv2d_exact():
    return bool(fc_conv2d_exact())


def conv2d_backward_data(tuple geometry, algorithm, cnp.ndarray dy, cnp.ndarray kernel, cnp.ndarray dx):
    """dx (N, H, W, C) from dy (N, OH, OW, K)."""
    cdef fc_conv2d d = descriptor(geometry)
    cdef fc_dtype t = dtype_of(dy)
    cdef const char *name = chosen(algorithm)
    cdef fc_status status
    with nogil:
        status = fc_conv2d_backward_data(&d, t, name, cnp.PyArray_DATA(dy), cnp.PyArray_DATA(kernel),
                                         cnp.PyArray_DATA(dx))
    check(status)


def conv2d_backward_weights(tuple geometry, algorithm, cnp.ndarray x, cnp.ndarray dy, cnp.ndarray dkernel, dbias):
    """dkernel (KH, KW, C/G, K) and, unless it is None, dbias (K)."""
    cdef fc_conv2d d = descriptor(geometry)
    cdef fc_dtype t = dtype_of(x)
    cdef const char *name = chosen(algorithm)
    cdef void *db = pointer(dbias)
    cdef fc_status status
    with nogil:
        status = fc_conv2d_backward_weights(&d, t, name, cnp.PyArray_DATA(x), cnp.PyArray_DATA(dy),
                                            cnp.PyArray_DATA(dkernel), db)
    check(status)


def conv2d_algorithms():
    """Names of the built-in algorithms, in the order in which "auto" asks them."""
    names, i = [], 0
    while fc_conv2d_algorithm_name(i) is not NULL:
        names.append(fc_conv2d_algorithm_name(i).decode())
        i += 1
    return tuple(names)


def conv2d_refusal(tuple geometry, int which, algorithm):
    """Why ``algorithm`` cannot serve this geometry, or None."""
    cdef fc_conv2d d = descriptor(geometry)
    cdef const char *reason = fc_conv2d_refusal(&d, <fc_pass>which, algorithm.encode())
    return None if reason is NULL else reason.decode()


def column_sums(cnp.ndarray dy, cnp.ndarray db):
    """db (K) = sum of dy (..., K) over all axes but the last."""
    cdef const fc_kernels *kernels = table_of(dy)
    cdef int64_t K = db.shape[0]
    cdef int64_t rows = cnp.PyArray_SIZE(dy) // K
    cdef fc_status status
    with nogil:
        status = kernels.column_sums(rows, K, K, cnp.PyArray_DATA(dy), cnp.PyArray_DATA(db))
    check(status)
