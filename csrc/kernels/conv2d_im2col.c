/* Convolution through a column matrix (Chellapilla et al., 2006), a few images at a time so that it stays small.
 * x (N, H, W, C), w (KH, KW, C, K), y and dy (N, OH, OW, K); one group. */
#include "simd.h"

/* Images at a time: as many as fit 16 MiB of columns, at least one. Fixed by the shape. */
static int64_t images_at_once(const fc_conv2d *d) {
  int64_t bytes = d->OH * d->OW * d->KH * d->KW * d->C * (int64_t)sizeof(real);
  return max_i64(1, min_i64(d->N, (16 << 20) / bytes));
}

static real *allocate_columns(const fc_conv2d *d) {
  return fc_alloc((size_t)(images_at_once(d) * d->OH * d->OW * d->KH * d->KW * d->C) * sizeof(real));
}

/* y = im2col(x) w */
fc_status FC(conv2d_forward_im2col)(const fc_conv2d *d, const void *x_, const void *w, const fc_epilogue *e, void *y_) {
  const real *x = x_;
  real *y = y_, *cols = allocate_columns(d);
  fc_status status = cols ? FC_OK : FC_NO_MEMORY;
  int64_t step = images_at_once(d), depth = d->KH * d->KW * d->C;
  for (int64_t n = 0; n < d->N && status == FC_OK; n += step) {
    fc_conv2d some = *d;
    some.N = min_i64(step, d->N - n);
    fc_gemm g = {.M = some.N * d->OH * d->OW, .N = d->K, .K = depth};
    g.a_row = depth, g.a_col = 1, g.b_row = d->K, g.b_col = 1, g.c_row = d->y_pitch;
    status = FC(im2col)(&some, x + n * d->H * d->W * d->x_pitch, cols);
    if (status == FC_OK) status = FC(gemm)(&g, cols, w, e, y + n * d->OH * d->OW * d->y_pitch);
  }
  fc_free(cols);
  return status;
}

/* dx = col2im(dy w^T) */
fc_status FC(conv2d_backward_data_im2col)(const fc_conv2d *d, const void *dy_, const void *w, void *dx_) {
  const real *dy = dy_;
  real *dx = dx_, *cols = allocate_columns(d);
  fc_status status = cols ? FC_OK : FC_NO_MEMORY;
  int64_t step = images_at_once(d), depth = d->KH * d->KW * d->C;
  fc_epilogue none = {0};
  for (int64_t n = 0; n < d->N && status == FC_OK; n += step) {
    fc_conv2d some = *d;
    some.N = min_i64(step, d->N - n);
    fc_gemm g = {.M = some.N * d->OH * d->OW, .N = depth, .K = d->K};
    g.a_row = d->y_pitch, g.a_col = 1, g.b_row = 1, g.b_col = d->K, g.c_row = depth;
    status = FC(gemm)(&g, dy + n * d->OH * d->OW * d->y_pitch, w, &none, cols);
    if (status == FC_OK) status = FC(col2im)(&some, cols, dx + n * d->H * d->W * d->x_pitch);
  }
  fc_free(cols);
  return status;
}

/* dw = im2col(x)^T dy */
fc_status FC(conv2d_backward_weights_im2col)(const fc_conv2d *d, const void *x_, const void *dy_, void *dw) {
  const real *x = x_, *dy = dy_;
  real *cols = allocate_columns(d);
  fc_status status = cols ? FC_OK : FC_NO_MEMORY;
  int64_t step = images_at_once(d), depth = d->KH * d->KW * d->C;
  fc_epilogue none = {0};
  if (d->N == 0) memset(dw, 0, (size_t)(depth * d->K) * sizeof(real));
  for (int64_t n = 0; n < d->N && status == FC_OK; n += step) {
    fc_conv2d some = *d;
    some.N = min_i64(step, d->N - n);
    fc_gemm g = {.M = depth, .N = d->K, .K = some.N * d->OH * d->OW, .accumulate = n > 0};
    g.a_row = 1, g.a_col = depth, g.b_row = d->y_pitch, g.b_col = 1, g.c_row = d->K;
    status = FC(im2col)(&some, x + n * d->H * d->W * d->x_pitch, cols);
    if (status == FC_OK) status = FC(gemm)(&g, cols, dy + n * d->OH * d->OW * d->y_pitch, &none, dw);
  }
  fc_free(cols);
  return status;
}
