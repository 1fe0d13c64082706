/* Where a Winograd convolution comes in. Stride 1 goes straight to its pass; any other stride becomes 1 by space to
 * depth: SH x SW neighbours become the channels of one pixel, a kernel of KH x KW becomes r x r = ceil(KH / SH) x
 * ceil(KW / SW), its missing taps zero. AlexNet's 11x11 stride 4 on 3 channels is 3x3 on 48.
 *
 *      stride 2        a b c d          [a b e f] [c d g h]        kernel    p q r        [p q s t] [r 0 u 0]
 *                      e f g h    ->    [i j m n] [k l o p]                  s t u   ->   [v w 0 0] [x 0 0 0]
 *                      i j k l                                               v w x
 *                      m n o p          4 channels a pixel
 *
 * x (N, H, W, C) -> (N, OH + r - 1, OW + r - 1, SH * SW * C), padding included. */
#include "winograd.h"

/* The same convolution after space to depth. */
static fc_conv2d at_stride_1(const fc_conv2d *d) {
  fc_conv2d v = *d;
  v.KH = ceil_div(d->KH, d->SH), v.KW = ceil_div(d->KW, d->SW);
  v.H = d->OH + v.KH - 1, v.W = d->OW + v.KW - 1;
  v.C = v.x_pitch = d->SH * d->SW * d->C;
  v.SH = v.SW = 1, v.PT = v.PB = v.PL = v.PR = 0;
  return v;
}

static int has_stride_1(const fc_conv2d *d) { return d->SH == 1 && d->SW == 1; }

static void copy(int64_t n, const real *from, real *to) {
  for (int64_t i = 0; i < n; i += VL) store_n(to + i, load_n(from + i, min_i64(n - i, VL)), min_i64(n - i, VL));
}

/* SW pixels from column w of an image row (NULL: a row of padding) on -> SW * C values */
static void gather_run(const fc_conv2d *d, const real *row, int64_t w, real *to) {
  if (row && w >= 0 && w + d->SW <= d->W && d->x_pitch == d->C) {
    copy(d->SW * d->C, row + w * d->C, to);
    return;
  }
  for (int64_t i = 0; i < d->SW; i++, to += d->C)
    if (row && w + i >= 0 && w + i < d->W)
      copy(d->C, row + (w + i) * d->x_pitch, to);
    else
      memset(to, 0, (size_t)d->C * sizeof(real));
}

static void space_to_depth(const fc_conv2d *d, const fc_conv2d *v, const real *x, real *to) {
#pragma omp parallel for num_threads(fc_threads_for(v->N * v->H * v->W * v->C)) schedule(static)
  for (int64_t row = 0; row < v->N * v->H; row++) {
    int64_t n = row / v->H, first = row % v->H * d->SH - d->PT;
    for (int64_t s = 0; s < d->SH; s++) {
      int64_t h = first + s;
      const real *from = h >= 0 && h < d->H ? x + (n * d->H + h) * d->W * d->x_pitch : NULL;
      for (int64_t i = 0; i < v->W; i++)
        gather_run(d, from, i * d->SW - d->PL, to + (row * v->W + i) * v->C + s * d->SW * d->C);
    }
  }
}

/* The other way, for gradients: pixels that no output saw get 0. */
static void depth_to_space(const fc_conv2d *d, const fc_conv2d *v, const real *from, real *dx) {
#pragma omp parallel for num_threads(fc_threads_for(d->N * d->H * d->W * d->C)) schedule(static)
  for (int64_t row = 0; row < d->N * d->H; row++) {
    int64_t n = row / d->H, h = row % d->H + d->PT;
    for (int64_t i = 0; i < d->W; i++) {
      int64_t w = i + d->PL, vh = h / d->SH, vw = w / d->SW;
      real *to = dx + (row * d->W + i) * d->x_pitch;
      if (vh < v->H && vw < v->W)
        copy(d->C, from + ((n * v->H + vh) * v->W + vw) * v->C + (h % d->SH * d->SW + w % d->SW) * d->C, to);
      else
        memset(to, 0, (size_t)d->C * sizeof(real));
    }
  }
}

/* Tap (kh, kw) of w (KH, KW, C, K) and its place in the kernel at stride 1 (r, r, SH * SW * C, K): C * K values each.
 */
static int64_t packed_tap(const fc_conv2d *d, const fc_conv2d *v, int64_t kh, int64_t kw) {
  int64_t tap = kh / d->SH * v->KW + kw / d->SW, phase = kh % d->SH * d->SW + kw % d->SW;
  return (tap * d->SH * d->SW + phase) * d->C * d->K;
}

static int64_t kernel_size(const fc_conv2d *v) { return v->KH * v->KW * v->C * v->K; }
static int64_t image_size(const fc_conv2d *v) { return v->N * v->H * v->W * v->C; }

static void pack_kernel(const fc_conv2d *d, const fc_conv2d *v, const real *w, real *to) {
  size_t tap = (size_t)(d->C * d->K) * sizeof(real);
  memset(to, 0, (size_t)kernel_size(v) * sizeof(real));
  for (int64_t t = 0; t < d->KH * d->KW; t++)
    memcpy(to + packed_tap(d, v, t / d->KW, t % d->KW), w + t * d->C * d->K, tap);
}

static void unpack_kernel(const fc_conv2d *d, const fc_conv2d *v, const real *from, real *dw) {
  size_t tap = (size_t)(d->C * d->K) * sizeof(real);
  for (int64_t t = 0; t < d->KH * d->KW; t++)
    memcpy(dw + t * d->C * d->K, from + packed_tap(d, v, t / d->KW, t % d->KW), tap);
}

int64_t FC(winograd_filters_size)(const fc_conv2d *d, int points) {
  return points * points * d->SH * d->SW * d->C * padded_cols(d->K);
}

fc_status FC(winograd_filters)(const fc_conv2d *d, int points, const void *w, void *u) {
  fc_conv2d v = at_stride_1(d);
  winograd p = {.points = points, .r = (int)v.KH, .C = v.C, .K = v.K};
  if (has_stride_1(d)) {
    FC(winograd_transform_filters)(&p, w, u);
    return FC_OK;
  }
  fc_workspace memory = {0};
  real *kernel;
  FC_PART(&memory, kernel, kernel_size(&v));
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  pack_kernel(d, &v, w, kernel);
  FC(winograd_transform_filters)(&p, kernel, u);
  fc_workspace_free(&memory);
  return FC_OK;
}

fc_status FC(conv2d_forward_winograd)(const fc_conv2d *d, int points, const void *x, const void *w, const void *u,
                                      const fc_epilogue *e, void *y) {
  if (has_stride_1(d)) return FC(winograd_forward)(d, points, x, w, u, e, y);
  fc_conv2d v = at_stride_1(d);
  fc_workspace memory = {0};
  real *image, *kernel;
  FC_PART(&memory, image, image_size(&v));
  FC_PART(&memory, kernel, u ? 0 : kernel_size(&v));
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  space_to_depth(d, &v, x, image);
  if (!u) pack_kernel(d, &v, w, kernel);
  fc_status status = FC(winograd_forward)(&v, points, image, kernel, u, e, y);
  fc_workspace_free(&memory);
  return status;
}

fc_status FC(conv2d_backward_data_winograd)(const fc_conv2d *d, int points, const void *dy, const void *w, void *dx) {
  if (has_stride_1(d)) return FC(winograd_backward_data)(d, points, dy, w, dx);
  fc_conv2d v = at_stride_1(d);
  fc_workspace memory = {0};
  real *image, *kernel;
  FC_PART(&memory, image, image_size(&v));
  FC_PART(&memory, kernel, kernel_size(&v));
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  pack_kernel(d, &v, w, kernel);
  fc_status status = FC(winograd_backward_data)(&v, points, dy, kernel, image);
  if (status == FC_OK) depth_to_space(d, &v, image, dx);
  fc_workspace_free(&memory);
  return status;
}

fc_status FC(conv2d_backward_weights_winograd)(const fc_conv2d *d, int points, const void *x, const void *dy,
                                               void *dw) {
  if (has_stride_1(d)) return FC(winograd_backward_weights)(d, points, x, dy, dw);
  fc_conv2d v = at_stride_1(d);
  fc_workspace memory = {0};
  real *image, *kernel;
  FC_PART(&memory, image, image_size(&v));
  FC_PART(&memory, kernel, kernel_size(&v));
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  space_to_depth(d, &v, x, image);
  fc_status status = FC(winograd_backward_weights)(&v, points, image, dy, kernel);
  if (status == FC_OK) unpack_kernel(d, &v, kernel, dw);
  fc_workspace_free(&memory);
  return status;
}
