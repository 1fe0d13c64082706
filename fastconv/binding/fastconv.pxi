# csrc/fastconv.h as Cython sees it, and the small helpers of every wrapper.

cdef extern from "fastconv.h" nogil:
    ctypedef enum fc_status:
        FC_OK, FC_NO_MEMORY, FC_OVERFLOW, FC_BAD_GEOMETRY, FC_UNSUPPORTED, FC_BAD_INDEX
    ctypedef enum fc_dtype:
        FC_FLOAT32, FC_FLOAT64
    ctypedef enum fc_pass:
        FC_FORWARD, FC_BACKWARD_DATA, FC_BACKWARD_WEIGHTS
    ctypedef enum fc_activation_kind:
        FC_LINEAR

    ctypedef struct fc_epilogue:
        const void *bias
        fc_activation_kind kind
        double parameter
        const void *slope

    ctypedef struct fc_conv2d:
        int64_t N, H, W, C, KH, KW, K, G
        int64_t SH, SW, DH, DW, PT, PB, PL, PR
        int64_t OH, OW
        int64_t x_pitch, y_pitch

    ctypedef struct fc_pool2d:
        int64_t N, H, W, C, PH, PW, SH, SW, PT, PB, PL, PR
        int64_t OH, OW

    ctypedef struct fc_gemm:
        int64_t M, N, K
        int64_t a_row, a_col, b_row, b_col, c_row
        int accumulate

    ctypedef struct fc_kernels:
        fc_status (*gemm)(const fc_gemm *, const void *, const void *, const fc_epilogue *, void *) noexcept nogil
        fc_status (*im2col)(const fc_conv2d *, const void *, void *) noexcept nogil
        fc_status (*col2im)(const fc_conv2d *, const void *, void *) noexcept nogil
        fc_status (*column_sums)(int64_t, int64_t, int64_t, const void *, void *) noexcept nogil
        fc_status (*apply_epilogue)(int64_t, int64_t, int64_t, const fc_epilogue *, void *) noexcept nogil

    fc_status fc_conv2d_check(fc_conv2d *d)
    fc_status fc_conv2d_forward(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x, const void *w,
                                const fc_epilogue *e, void *y)
    fc_status fc_conv2d_backward_data(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *dy,
                                      const void *w, void *dx)
    fc_status fc_conv2d_backward_weights(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x,
                                         const void *dy, void *dw, void *db)
    const char *fc_conv2d_algorithm_name(int i)
    const char *fc_conv2d_choice(const fc_conv2d *d, fc_pass p, fc_dtype t)
    const char *fc_conv2d_refusal(const fc_conv2d *d, fc_pass p, const char *algorithm)

    const fc_kernels *fc_table(fc_dtype t)
    int fc_isa_select(const char *name)
    const char *fc_isa_name()
    const char *fc_isa_built(int i)
    int fc_isa_usable(int i)

    int fc_num_threads()
    int fc_set_num_threads(int n)
    const char *fc_num_threads_source()
    void fc_set_num_threads_source(const char *source)
    int fc_has_openmp()

    void *fc_alloc(size_t bytes)
    void fc_free(void *block)
    void fc_pool_trim()
    void fc_pool_usage(size_t *in_use, size_t *pooled)


cdef inline fc_dtype dtype_of(cnp.ndarray array):
    return FC_FLOAT64 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64 else FC_FLOAT32


cdef inline const fc_kernels *table_of(cnp.ndarray array):
    return fc_table(dtype_of(array))


cdef inline void *pointer(object array):
    """Data of an array, or NULL for None."""
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef inline fc_epilogue epilogue_of(object bias, tuple activation):
    """activation: (kind, parameter, slope array or None), as ops.activation.resolve returns it."""
    cdef fc_epilogue e
    e.bias = pointer(bias)
    e.kind = <fc_activation_kind><int>activation[0]
    e.parameter = activation[1]
    e.slope = pointer(activation[2])
    return e


cdef int check(fc_status status) except -1:
    if status == FC_OK:
        return 0
    if status == FC_NO_MEMORY:
        raise MemoryError("not enough memory for this operation's workspace")
    if status == FC_OVERFLOW:
        raise OverflowError("the size of a tensor of this operation does not fit 64 bits")
    if status == FC_UNSUPPORTED:
        raise ValueError("the chosen algorithm does not support this geometry")
    if status == FC_BAD_INDEX:
        raise IndexError("an index points outside its tensor")
    raise ValueError("invalid geometry")
