# csrc/fastconv.h as Cython sees it, and the small helpers of every wrapper.

cdef extern from "fastconv.h" nogil:
    ctypedef enum fc_status:
        FC_OK, FC_NO_MEMORY, FC_OVERFLOW, FC_BAD_GEOMETRY, FC_UNSUPPORTED, FC_BAD_INDEX
    ctypedef enum fc_dtype:
        FC_FLOAT32, FC_FLOAT64
    ctypedef enum fc_pass:
        FC_FORWARD, FC_BACKWARD_DATA, FC_BACKWARD_WEIGHTS
    ctypedef enum fc_activation_kind:
        FC_LINEAR, FC_RELU, FC_RELU6, FC_LEAKY_RELU, FC_ELU, FC_SIGMOID, FC_TANH, FC_SOFTMAX, FC_PRELU

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

    ctypedef struct fc_batch_norm:
        int64_t rows, C, x_pitch
        const void *x
        const void *gamma
        const void *beta
        double epsilon
        fc_epilogue e

    ctypedef struct fc_cross_entropy:
        int64_t rows, K
        const int64_t *labels
        const void *targets
        double smoothing

    ctypedef struct fc_lrn:
        int64_t radius
        double bias, alpha, beta

    ctypedef struct fc_dropout:
        uint64_t seed, counter, threshold
        double scale

    ctypedef struct fc_transpose:
        int64_t batch, rows, cols, x_batch, y_batch, x_row, y_row

    ctypedef struct fc_place:
        int64_t N, H, W, C, OH, OW, top, left

    ctypedef struct fc_upsample:
        int64_t N, H, W, C, FH, FW

    ctypedef enum fc_optimizer_kind:
        FC_SGD, FC_RMSPROP, FC_ADAM, FC_ADAGRAD

    ctypedef struct fc_optimizer:
        fc_optimizer_kind kind
        int nesterov
        double learning_rate, momentum, rho, epsilon, beta_1, beta_2, step, weight_decay, scale

    ctypedef struct fc_segment:
        void *value
        const void *grad
        void *state[2]
        int64_t size

    ctypedef struct fc_gemm_batch:
        fc_gemm each
        int64_t count, a_step, b_step, bias_step, c_step

    ctypedef struct fc_kernels:
        fc_status (*gemm)(const fc_gemm *, const void *, const void *, const fc_epilogue *, void *) noexcept nogil
        fc_status (*im2col)(const fc_conv2d *, const void *, void *) noexcept nogil
        fc_status (*col2im)(const fc_conv2d *, const void *, void *) noexcept nogil
        fc_status (*column_sums)(int64_t, int64_t, int64_t, const void *, void *) noexcept nogil
        fc_status (*activate)(int64_t, int64_t, const fc_epilogue *, const void *, void *) noexcept nogil
        fc_status (*activation_backward)(int64_t, int64_t, const fc_epilogue *, const void *, const void *,
                                         void *) noexcept nogil
        fc_status (*prelu_backward)(int64_t, int64_t, const void *, const void *, const void *, void *,
                                    void *) noexcept nogil
        fc_status (*cross_entropy)(const fc_cross_entropy *, const void *, const void *, void *, void *) noexcept nogil
        fc_status (*cross_entropy_backward)(const fc_cross_entropy *, const void *, const void *, double,
                                            void *) noexcept nogil
        fc_status (*max_pool2d)(const fc_pool2d *, const void *, void *, int32_t *) noexcept nogil
        fc_status (*max_pool2d_backward)(int64_t, int64_t, int64_t, int64_t, const void *, const int32_t *,
                                         void *) noexcept nogil
        fc_status (*max_pool2d_backward_windows)(const fc_pool2d *, const void *, const int32_t *,
                                                 void *) noexcept nogil
        fc_status (*copy_rows)(int64_t, int64_t, int64_t, const void *, int64_t, void *) noexcept nogil
        fc_status (*add)(int64_t, int64_t, int64_t, const void *, int64_t, const void *, void *) noexcept nogil
        fc_status (*max_unpool2d)(int64_t, int64_t, int64_t, int64_t, const void *, const int32_t *,
                                  void *) noexcept nogil
        fc_status (*max_unpool2d_backward)(int64_t, int64_t, int64_t, int64_t, const void *, const int32_t *,
                                           void *) noexcept nogil
        fc_status (*avg_pool2d)(const fc_pool2d *, int, const void *, void *) noexcept nogil
        fc_status (*avg_pool2d_backward)(const fc_pool2d *, int, const void *, void *) noexcept nogil
        fc_status (*batch_norm)(const fc_batch_norm *, void *, void *, void *) noexcept nogil
        fc_status (*batch_norm_apply)(const fc_batch_norm *, const void *, const void *, void *) noexcept nogil
        fc_status (*batch_norm_backward)(const fc_batch_norm *, int, const void *, const void *, const void *, void *,
                                         void *, void *) noexcept nogil
        fc_status (*lrn)(int64_t, int64_t, const fc_lrn *, const void *, void *) noexcept nogil
        fc_status (*lrn_backward)(int64_t, int64_t, const fc_lrn *, const void *, const void *, void *) noexcept nogil
        fc_status (*dropout)(int64_t, const fc_dropout *, const void *, void *) noexcept nogil
        fc_status (*spatial_dropout)(int64_t, int64_t, int64_t, const fc_dropout *, const void *,
                                     void *) noexcept nogil
        fc_status (*transpose)(const fc_transpose *, const void *, void *) noexcept nogil
        fc_status (*place)(const fc_place *, const void *, void *) noexcept nogil
        fc_status (*upsample_nearest)(const fc_upsample *, const void *, void *) noexcept nogil
        fc_status (*upsample_nearest_backward)(const fc_upsample *, const void *, void *) noexcept nogil
        fc_status (*upsample_bilinear)(const fc_upsample *, const void *, void *) noexcept nogil
        fc_status (*upsample_bilinear_backward)(const fc_upsample *, const void *, void *) noexcept nogil
        fc_status (*optimizer_step)(const fc_optimizer *, int64_t, const fc_segment *) noexcept nogil
        fc_status (*gemm_batch)(const fc_gemm_batch *, const void *, const void *, const void *, void *) noexcept nogil
        fc_status (*fma_peak)(int64_t, int64_t, const void *, void *, int64_t *) noexcept nogil
        fc_status (*triad)(int64_t, double, const void *, const void *, void *) noexcept nogil
        fc_status (*apply_epilogue)(int64_t, int64_t, int64_t, const fc_epilogue *, void *) noexcept nogil

    fc_status fc_conv2d_check(fc_conv2d *d)
    fc_status fc_conv2d_forward(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x, const void *w,
                                const void *prepared, const fc_epilogue *e, void *y) noexcept nogil
    fc_status fc_conv2d_backward_data(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *dy,
                                      const void *w, void *dx)
    fc_status fc_conv2d_backward_weights(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x,
                                         const void *dy, void *dw, void *db)
    const char *fc_conv2d_algorithm_name(int i)
    const char *fc_conv2d_choice(const fc_conv2d *d, fc_dtype t, fc_pass p, int prepared)
    int64_t fc_conv2d_prepared_size(const fc_conv2d *d, fc_dtype t, const char *algorithm)
    fc_status fc_conv2d_prepare(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *w,
                                void *prepared) noexcept nogil
    void fc_set_conv2d_exact(int on)
    int fc_conv2d_exact()
    const char *fc_conv2d_refusal(const fc_conv2d *d, fc_pass p, const char *algorithm)

    const fc_kernels *fc_table(fc_dtype t)
    int fc_isa_select(const char *name)
    const char *fc_isa_name()
    const char *fc_isa_built(int i)
    int fc_isa_usable(int i)
    const char *fc_compiler()

    int fc_num_threads()
    int fc_set_num_threads(int n)
    const char *fc_num_threads_source()
    void fc_set_num_threads_source(const char *source)
    int fc_has_openmp()

    void *fc_alloc(size_t bytes)
    void fc_free(void *block)
    void fc_pool_trim()
    void fc_pool_usage(size_t *in_use, size_t *pooled)
    size_t fc_pool_fresh()


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
