/* Convolution through a column matrix (Chellapilla et al., 2006), a few images of one group at a time so that it stays
 * small. x (N, H, W, C), w (KH, KW, C/G, K), y and dy (N, OH, OW, K). */
#include "kernels/base/simd.h"

/* A run of images of one group: its descriptor, what lies where, and the column matrix. */
typedef struct {
  fc_conv2d d;     /* G = 1, the group's channels, the whole tensor's pitch */
  int64_t x, y, w; /* first elements */
  int64_t rows, depth;
} part;

/* Images at a time: as many as have columns that fit, at least one. Fixed by the shape. */
static int64_t images_at_once(const fc_conv2d *d) {
  int64_t bytes = d->OH * d->OW * d->KH * d->KW * (d->C / d->G) * (int64_t)sizeof(real);
  return max_i64(1, min_i64(d->N, COLUMNS_BYTES / bytes));
}

static int64_t part_count(const fc_conv2d *d) { return ceil_div(d->N, images_at_once(d)) * d->G; }

static part part_at(const fc_conv2d *d, int64_t i) {
  int64_t step = images_at_once(d), n = i / d->G * step, g = i % d->G;
  part p = {.d = *d};
  p.d.G = 1, p.d.C = d->C / d->G, p.d.K = d->K / d->G, p.d.N = min_i64(step, d->N - n);
  p.x = n * d->H * d->W * d->x_pitch + g * p.d.C;
  p.y = n * d->OH * d->OW * d->y_pitch + g * p.d.K;
  p.w = g * p.d.K;
  p.rows = p.d.N * d->OH * d->OW;
  p.depth = d->KH * d->KW * p.d.C;
  return p;
}

static real *allocate_columns(const fc_conv2d *d) {
  int64_t rows = images_at_once(d) * d->OH * d->OW;
  return fc_alloc((size_t)(rows * d->KH * d->KW * (d->C / d->G)) * sizeof(real));
}

/* y = im2col(x) w */
fc_status FC(conv2d_forward_im2col)(const fc_conv2d *d, const void *x_, const void *w_, const fc_epilogue *e,
                                    void *y_) {
  const real *x = x_, *w = w_, *bias = e->bias, *slope = e->slope;
  real *y = y_, *cols = allocate_columns(d);
  fc_status status = cols ? FC_OK : FC_NO_MEMORY;
  for (int64_t i = 0; i < part_count(d) && status == FC_OK; i++) {
    part p = part_at(d, i);
    fc_gemm g = {.M = p.rows, .N = p.d.K, .K = p.depth, .a_row = p.depth, .a_col = 1, .b_row = d->K, .b_col = 1};
    g.c_row = d->y_pitch;
    fc_epilogue of_group = *e;
    if (bias) of_group.bias = bias + p.w;
    if (slope) of_group.slope = slope + p.w;
    status = FC(im2col)(&p.d, x + p.x, cols);
    if (status == FC_OK) status = FC(gemm)(&g, cols, w + p.w, &of_group, y + p.y);
  }
  fc_free(cols);
  return status;
}

/* dx = col2im(dy w^T) */
fc_status FC(conv2d_backward_data_im2col)(const fc_conv2d *d, const void *dy_, const void *w_, void *dx_) {
  const real *dy = dy_, *w = w_;
  real *dx = dx_, *cols = allocate_columns(d);
  fc_status status = cols ? FC_OK : FC_NO_MEMORY;
  fc_epilogue none = {0};
  for (int64_t i = 0; i < part_count(d) && status == FC_OK; i++) {
    part p = part_at(d, i);
    fc_gemm g = {.M = p.rows, .N = p.depth, .K = p.d.K, .a_row = d->y_pitch, .a_col = 1, .b_row = 1, .b_col = d->K};
    g.c_row = p.depth;
    status = FC(gemm)(&g, dy + p.y, w + p.w, &none, cols);
    if (status == FC_OK) status = FC(col2im)(&p.d, cols, dx + p.x);
  }
  fc_free(cols);
  return status;
}

/* dw = im2col(x)^T dy */
fc_status FC(conv2d_backward_weights_im2col)(const fc_conv2d *d, const void *x_, const void *dy_, void *dw_) {
  const real *x = x_, *dy = dy_;
  real *dw = dw_, *cols = allocate_columns(d);
  fc_status status = cols ? FC_OK : FC_NO_MEMORY;
  fc_epilogue none = {0};
  if (d->N == 0) memset(dw, 0, (size_t)(d->KH * d->KW * (d->C / d->G) * d->K) * sizeof(real));
  for (int64_t i = 0; i < part_count(d) && status == FC_OK; i++) {
    part p = part_at(d, i);
    fc_gemm g = {.M = p.depth, .N = p.d.K, .K = p.rows, .a_row = 1, .a_col = p.depth, .b_row = d->y_pitch, .b_col = 1};
    g.c_row = d->K, g.accumulate = i >= d->G;
    status = FC(im2col)(&p.d, x + p.x, cols);
    if (status == FC_OK) status = FC(gemm)(&g, cols, dy + p.y, &none, dw + p.w);
  }
  fc_free(cols);
  return status;
}
