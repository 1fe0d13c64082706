# Matrix products.

def gemm(cnp.ndarray a, cnp.ndarray b, cnp.ndarray c, bint transpose_a, bint transpose_b, bias, tuple activation):
    """c (M, N) = activation(a (M, K) @ b (K, N) + bias); a and b as stored, transposed where told."""
    cdef fc_gemm g
    cdef fc_epilogue e = epilogue_of(bias, activation)
    cdef const fc_kernels *kernels = table_of(a)
    cdef fc_status status
    g.M, g.N = c.shape[0], c.shape[1]
    g.K = a.shape[0] if transpose_a else a.shape[1]
    g.a_row = 1 if transpose_a else a.shape[1]
    g.a_col = a.shape[1] if transpose_a else 1
    g.b_row = 1 if transpose_b else b.shape[1]
    g.b_col = b.shape[1] if transpose_b else 1
    g.c_row = g.N
    g.accumulate = 0
    with nogil:
        status = kernels.gemm(&g, cnp.PyArray_DATA(a), cnp.PyArray_DATA(b), &e, cnp.PyArray_DATA(c))
    check(status)


def finish(cnp.ndarray y, bias, tuple activation):
    """y (..., K) = activation(y + bias), in place."""
    cdef fc_epilogue e = epilogue_of(bias, activation)
    cdef const fc_kernels *kernels = table_of(y)
    cdef int64_t K = y.shape[cnp.PyArray_NDIM(y) - 1]
    cdef int64_t rows = cnp.PyArray_SIZE(y) // K
    cdef fc_status status
    with nogil:
        status = kernels.apply_epilogue(rows, K, K, &e, cnp.PyArray_DATA(y))
    check(status)
