/* The one list of kernels: it declares them, lays out the table of an instruction set, and fills it
 * (kernels/base/table.c). A kernel is compiled once per instruction set and dtype, so tensors are void pointers here.
 */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

/* The three passes of an algorithm for convolution. */
#define FC_CONV2D_KERNELS(X, name)                                                                         \
  X(fc_status, conv2d_forward_##name,                                                                      \
    (const fc_conv2d *d, const void *x, const void *w, const fc_epilogue *e, void *y))                     \
  X(fc_status, conv2d_backward_data_##name, (const fc_conv2d *d, const void *dy, const void *w, void *dx)) \
  X(fc_status, conv2d_backward_weights_##name, (const fc_conv2d *d, const void *x, const void *dy, void *dw))

/* X(result, name, (arguments)) */
#define FC_KERNELS(X)                                                                                              \
  X(fc_status, gemm, (const fc_gemm *g, const void *a, const void *b, const fc_epilogue *e, void *c))              \
  X(fc_status, im2col, (const fc_conv2d *d, const void *x, void *cols))                                            \
  X(fc_status, col2im, (const fc_conv2d *d, const void *cols, void *dx))                                           \
  FC_CONV2D_KERNELS(X, naive)                                                                                      \
  FC_CONV2D_KERNELS(X, im2col)                                                                                     \
  FC_CONV2D_KERNELS(X, implicit_gemm)                                                                              \
  X(int, grouped_wins, (const fc_conv2d *d, fc_pass pass))                                                         \
  X(fc_status, conv2d_forward_grouped,                                                                             \
    (const fc_conv2d *d, const void *x, const void *w, const fc_epilogue *e, void *y))                             \
  X(fc_status, conv2d_backward_data_grouped, (const fc_conv2d *d, const void *dy, const void *w, void *dx))        \
  X(fc_status, conv2d_backward_weights_grouped,                                                                    \
    (const fc_conv2d *d, const void *x, const void *dy, void *dw, void *db))                                       \
  X(double, winograd_gain, (const fc_conv2d *d, fc_pass pass, int prepared))                                       \
  X(int64_t, winograd_filters_size, (const fc_conv2d *d, int points))                                              \
  X(fc_status, winograd_filters, (const fc_conv2d *d, int points, const void *w, void *u))                         \
  X(fc_status, conv2d_forward_winograd,                                                                            \
    (const fc_conv2d *d, int points, const void *x, const void *w, const void *u, const fc_epilogue *e, void *y))  \
  X(fc_status, conv2d_backward_data_winograd,                                                                      \
    (const fc_conv2d *d, int points, const void *dy, const void *w, void *dx))                                     \
  X(fc_status, conv2d_backward_weights_winograd,                                                                   \
    (const fc_conv2d *d, int points, const void *x, const void *dy, void *dw))                                     \
  X(fc_status, column_sums, (int64_t rows, int64_t K, int64_t pitch, const void *dy, void *db))                    \
  X(fc_status, activate, (int64_t rows, int64_t K, const fc_epilogue *e, const void *x, void *y))                  \
  X(fc_status, activation_backward,                                                                                \
    (int64_t rows, int64_t K, const fc_epilogue *e, const void *dy, const void *y, void *dx))                      \
  X(fc_status, prelu_backward,                                                                                     \
    (int64_t rows, int64_t C, const void *slope, const void *dy, const void *x, void *dx, void *dslope))           \
  X(fc_status, cross_entropy,                                                                                      \
    (const fc_cross_entropy *t, const void *logits, const void *weights, void *losses, void *probabilities))       \
  X(fc_status, cross_entropy_backward,                                                                             \
    (const fc_cross_entropy *t, const void *probabilities, const void *scales, double scale, void *dlogits))       \
  X(fc_status, max_pool2d, (const fc_pool2d *d, const void *x, void *y, int32_t *argmax))                          \
  X(fc_status, max_pool2d_backward,                                                                                \
    (int64_t N, int64_t P, int64_t plane, int64_t C, const void *dy, const int32_t *argmax, void *dx))             \
  X(fc_status, max_pool2d_backward_windows, (const fc_pool2d *d, const void *dy, const int32_t *argmax, void *dx)) \
  X(fc_status, copy_rows, (int64_t rows, int64_t n, int64_t x_pitch, const void *x, int64_t y_pitch, void *y))     \
  X(fc_status, add,                                                                                                \
    (int64_t rows, int64_t n, int64_t a_pitch, const void *a, int64_t b_pitch, const void *b, void *y))            \
  X(fc_status, max_unpool2d,                                                                                       \
    (int64_t N, int64_t P, int64_t plane, int64_t C, const void *x, const int32_t *argmax, void *y))               \
  X(fc_status, max_unpool2d_backward,                                                                              \
    (int64_t N, int64_t P, int64_t plane, int64_t C, const void *dy, const int32_t *argmax, void *dx))             \
  X(fc_status, avg_pool2d, (const fc_pool2d *d, int include_pad, const void *x, void *y))                          \
  X(fc_status, avg_pool2d_backward, (const fc_pool2d *d, int include_pad, const void *dy, void *dx))               \
  X(fc_status, batch_norm, (const fc_batch_norm *b, void *mean, void *variance, void *y))                          \
  X(fc_status, batch_norm_apply, (const fc_batch_norm *b, const void *mean, const void *variance, void *y))        \
  X(fc_status, batch_norm_backward,                                                                                \
    (const fc_batch_norm *b, int training, const void *dy, const void *mean, const void *variance, void *dx,       \
     void *dgamma, void *dbeta))                                                                                   \
  X(fc_status, lrn, (int64_t rows, int64_t C, const fc_lrn *d, const void *x, void *y))                            \
  X(fc_status, lrn_backward, (int64_t rows, int64_t C, const fc_lrn *d, const void *dy, const void *x, void *dx))  \
  X(fc_status, dropout, (int64_t n, const fc_dropout *d, const void *x, void *y))                                  \
  X(fc_status, spatial_dropout, (int64_t N, int64_t P, int64_t C, const fc_dropout *d, const void *x, void *y))    \
  X(fc_status, transpose, (const fc_transpose *t, const void *x, void *y))                                         \
  X(fc_status, place, (const fc_place *p, const void *x, void *y))                                                 \
  X(fc_status, upsample_nearest, (const fc_upsample *u, const void *x, void *y))                                   \
  X(fc_status, upsample_nearest_backward, (const fc_upsample *u, const void *dy, void *dx))                        \
  X(fc_status, upsample_bilinear, (const fc_upsample *u, const void *x, void *y))                                  \
  X(fc_status, upsample_bilinear_backward, (const fc_upsample *u, const void *dy, void *dx))                       \
  X(fc_status, optimizer_step, (const fc_optimizer *o, int64_t count, const fc_segment *segments))                 \
  X(fc_status, gemm_batch, (const fc_gemm_batch *s, const void *a, const void *b, const void *bias, void *c))      \
  X(fc_status, fma_peak, (int64_t parts, int64_t rounds, const void *start, void *sums, int64_t *flop))            \
  X(fc_status, triad, (int64_t n, double s, const void *b, const void *c, void *a))                                \
  X(fc_status, apply_epilogue, (int64_t rows, int64_t K, int64_t pitch, const fc_epilogue *e, void *y))

typedef struct fc_kernels {
#define X(result, name, arguments) result(*name) arguments;
  FC_KERNELS(X)
#undef X
} fc_kernels;

#endif
