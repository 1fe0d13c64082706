# Products of one shape, one for every output pixel.

def gemm_batch(tuple shape, tuple steps, cnp.ndarray a, cnp.ndarray b, bias, cnp.ndarray c):
    """C_i = A_i B_i [+ bias_i]; shape (count, M, N, K, a_row, a_col, b_row, b_col, c_row), steps (a, b, bias, c)."""
    cdef const fc_kernels *kernels = table_of(a)
    cdef fc_gemm_batch s
    cdef void *row = pointer(bias)
    cdef fc_status status
    s.count, s.each.M, s.each.N, s.each.K, s.each.a_row, s.each.a_col, s.each.b_row, s.each.b_col, s.each.c_row = shape
    s.a_step, s.b_step, s.bias_step, s.c_step = steps
    s.each.accumulate = 0
    with nogil:
        status = kernels.gemm_batch(&s, cnp.PyArray_DATA(a), cnp.PyArray_DATA(b), row, cnp.PyArray_DATA(c))
    check(status)
