/* The one list of kernels: it declares them, lays out the table of an instruction set, and fills it (kernels/table.c).
 * A kernel is compiled once per instruction set and dtype, so tensors are void pointers here. */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

/* X(result, name, (arguments)) */
#define FC_KERNELS(X)                                                                                                \
  X(fc_status, gemm, (const fc_gemm *g, const void *a, const void *b, const fc_epilogue *e, void *c))                \
  X(fc_status, im2col, (const fc_conv2d *d, const void *x, void *cols))                                              \
  X(fc_status, col2im, (const fc_conv2d *d, const void *cols, void *dx))                                             \
  X(fc_status, conv2d_forward_naive,                                                                                 \
    (const fc_conv2d *d, const void *x, const void *w, const fc_epilogue *e, void *y))                               \
  X(fc_status, conv2d_forward_im2col,                                                                                \
    (const fc_conv2d *d, const void *x, const void *w, const fc_epilogue *e, void *y))                               \
  X(fc_status, conv2d_forward_implicit_gemm,                                                                         \
    (const fc_conv2d *d, const void *x, const void *w, const fc_epilogue *e, void *y))                               \
  X(fc_status, conv2d_backward_data_naive, (const fc_conv2d *d, const void *dy, const void *w, void *dx))            \
  X(fc_status, conv2d_backward_data_im2col, (const fc_conv2d *d, const void *dy, const void *w, void *dx))           \
  X(fc_status, conv2d_backward_data_implicit_gemm, (const fc_conv2d *d, const void *dy, const void *w, void *dx))    \
  X(fc_status, conv2d_backward_weights_naive, (const fc_conv2d *d, const void *x, const void *dy, void *dw))         \
  X(fc_status, conv2d_backward_weights_im2col, (const fc_conv2d *d, const void *x, const void *dy, void *dw))        \
  X(fc_status, conv2d_backward_weights_implicit_gemm, (const fc_conv2d *d, const void *x, const void *dy, void *dw)) \
  X(fc_status, column_sums, (int64_t rows, int64_t K, int64_t pitch, const void *dy, void *db))                      \
  X(fc_status, apply_epilogue, (int64_t rows, int64_t K, int64_t pitch, const fc_epilogue *e, void *y))

typedef struct fc_kernels {
#define X(result, name, arguments) result(*name) arguments;
  FC_KERNELS(X)
#undef X
} fc_kernels;

#endif
