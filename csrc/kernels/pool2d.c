/* Pooling of x (N, H, W, C) into y (N, OH, OW, C): maximum and mean of every window, and the mean's gradient.
 *
 * A window is the part of (PH, PW) that lies in the input: padding never wins and adds nothing. A thread owns a block
 * of whole rows and goes through it from left to right, so the last vector of a pixel may spill over into the next
 * pixel, which is overwritten later; only at the end of the block (or of the tensor that is read) is it cut short. */
#include "simd.h"

enum { BLOCK = 8192 }; /* elements of the output that a thread takes at a time */

typedef int32_t index_vec __attribute__((vector_size(FC_VEC_BYTES / sizeof(real) * sizeof(int32_t))));

FC_INLINE vec load_n(const real *p, int64_t n) { return n == VL ? load(p) : load_part(p, n); }
FC_INLINE void store_n(real *p, vec v, int64_t n) {
  if (n == VL)
    store(p, v);
  else
    store_part(p, v, n);
}
FC_INLINE void store_index(int32_t *p, ivec index, int64_t n) {
  index_vec v = __builtin_convertvector(index, index_vec);
  memcpy(p, &v, (size_t)n * sizeof *p);
}

/* The window of output pixel (oh, ow), clipped to the input: rows [top, bottom), columns [left, right). */
typedef struct {
  int64_t top, bottom, left, right;
} window;

FC_INLINE window window_of(const fc_pool2d *d, int64_t oh, int64_t ow) {
  int64_t h = oh * d->SH - d->PT, w = ow * d->SW - d->PL;
  return (window){max_i64(h, 0), min_i64(h + d->PH, d->H), max_i64(w, 0), min_i64(w + d->PW, d->W)};
}

FC_INLINE int64_t rows_of_a_block(int64_t row_length, int64_t taps) { return max_i64(1, BLOCK / (row_length * taps)); }

/* May whole vectors be used for the channels from c on, reading a pixel that ends at `end` and writing one at `to`? */
FC_INLINE int may_spill(const fc_pool2d *d, int64_t c, const real *end, const real *x_end, const real *to,
                        const real *y_end) {
  return c + VL <= d->C || (VL - (d->C - c) <= x_end - end && VL <= y_end - to);
}

/* n <= VL channels: maximum and flat index of the first one, a NaN above everything */
FC_INLINE void max_of_window(const fc_pool2d *d, const real *image, window w, int64_t n, real *y, int32_t *argmax) {
  vec best = load_n(image + (w.top * d->W + w.left) * d->C, n);
  ivec where = (ivec){0} + (integer)(w.top * d->W + w.left);
  for (int64_t h = w.top; h < w.bottom; h++)
    for (int64_t c = w.left; c < w.right; c++) {
      int64_t position = h * d->W + c;
      vec v = load_n(image + position * d->C, n);
      ivec wins = ~(v <= best) & (best == best);
      best = blend(wins, v, best);
      where = (where & ~wins) | (((ivec){0} + (integer)position) & wins);
    }
  store_n(y, best, n);
  if (argmax) store_index(argmax, where, n);
}

FC_INLINE void max_of_row(const fc_pool2d *d, int64_t row, const real *x, const real *x_end, real *y, const real *y_end,
                          int32_t *argmax) {
  const real *image = x + row / d->OH * d->H * d->W * d->C;
  for (int64_t ow = 0; ow < d->OW; ow++) {
    window w = window_of(d, row % d->OH, ow);
    const real *end = image + ((w.bottom - 1) * d->W + w.right) * d->C;
    for (int64_t c = 0; c < d->C; c += VL) {
      int64_t i = (row * d->OW + ow) * d->C + c;
      int64_t n = may_spill(d, c, end, x_end, y + i, y_end) ? VL : d->C - c;
      if (n == VL)
        max_of_window(d, image + c, w, VL, y + i, argmax ? argmax + i : NULL);
      else
        max_of_window(d, image + c, w, n, y + i, argmax ? argmax + i : NULL);
    }
  }
}

/* argmax (N, OH, OW, C), flat h * W + w, or NULL */
fc_status FC(max_pool2d)(const fc_pool2d *d, const void *x_, void *y_, int32_t *argmax) {
  const real *x = x_, *x_end = x + d->N * d->H * d->W * d->C;
  real *y = y_;
  int64_t rows = d->N * d->OH, length = d->OW * d->C, block = rows_of_a_block(length, d->PH * d->PW);
#pragma omp parallel for num_threads(fc_threads_for(rows * length * d->PH * d->PW)) schedule(static)
  for (int64_t first = 0; first < rows; first += block) {
    int64_t last = min_i64(rows, first + block);
    for (int64_t row = first; row < last; row++)
      if (argmax)
        max_of_row(d, row, x, x_end, y, y + last * length, argmax);
      else
        max_of_row(d, row, x, x_end, y, y + last * length, NULL);
  }
  return FC_OK;
}

FC_INLINE void mean_of_window(const fc_pool2d *d, const real *image, window w, real count, int64_t n, real *y) {
  vec total = {0};
  for (int64_t h = w.top; h < w.bottom; h++) {
    vec line = {0}; /* summed row by row: large windows lose less */
    for (int64_t c = w.left; c < w.right; c++) line += load_n(image + (h * d->W + c) * d->C, n);
    total += line;
  }
  store_n(y, total / count, n);
}

/* How many elements the mean is over: the window's part in the input, or in the input and its padding. */
FC_INLINE real count_of(const fc_pool2d *d, int64_t oh, int64_t ow, int include_pad) {
  int64_t h = oh * d->SH - d->PT, w = ow * d->SW - d->PL;
  int64_t top = include_pad ? h : max_i64(h, 0), left = include_pad ? w : max_i64(w, 0);
  int64_t bottom = min_i64(h + d->PH, d->H + (include_pad ? d->PB : 0));
  int64_t right = min_i64(w + d->PW, d->W + (include_pad ? d->PR : 0));
  return (real)((bottom - top) * (right - left));
}

static void mean_of_row(const fc_pool2d *d, int include_pad, int64_t row, const real *x, const real *x_end, real *y,
                        const real *y_end) {
  const real *image = x + row / d->OH * d->H * d->W * d->C;
  for (int64_t ow = 0; ow < d->OW; ow++) {
    window w = window_of(d, row % d->OH, ow);
    real count = count_of(d, row % d->OH, ow, include_pad);
    const real *end = image + ((w.bottom - 1) * d->W + w.right) * d->C;
    for (int64_t c = 0; c < d->C; c += VL) {
      real *to = y + (row * d->OW + ow) * d->C + c;
      if (may_spill(d, c, end, x_end, to, y_end))
        mean_of_window(d, image + c, w, count, VL, to);
      else
        mean_of_window(d, image + c, w, count, d->C - c, to);
    }
  }
}

fc_status FC(avg_pool2d)(const fc_pool2d *d, int include_pad, const void *x_, void *y_) {
  const real *x = x_, *x_end = x + d->N * d->H * d->W * d->C;
  real *y = y_;
  int64_t rows = d->N * d->OH, length = d->OW * d->C, block = rows_of_a_block(length, d->PH * d->PW);
#pragma omp parallel for num_threads(fc_threads_for(rows * length * d->PH * d->PW)) schedule(static)
  for (int64_t first = 0; first < rows; first += block) {
    int64_t last = min_i64(rows, first + block);
    for (int64_t row = first; row < last; row++) mean_of_row(d, include_pad, row, x, x_end, y, y + last * length);
  }
  return FC_OK;
}

/* The output pixels whose windows hold input position p of one axis: [first, last). */
FC_INLINE void readers_of(int64_t p, int64_t before, int64_t pool, int64_t stride, int64_t outputs, int64_t *first,
                          int64_t *last) {
  int64_t reach = p + before - pool + 1;
  *first = reach > 0 ? ceil_div(reach, stride) : 0;
  *last = min_i64((p + before) / stride + 1, outputs);
}

/* n <= VL channels: dx of a pixel = sum over the windows that hold it of dy / count */
FC_INLINE void gather_mean(const fc_pool2d *d, const real *image, window from, const real *share, int64_t n, real *dx) {
  vec total = {0};
  for (int64_t oh = from.top; oh < from.bottom; oh++)
    for (int64_t ow = from.left; ow < from.right; ow++) {
      int64_t i = oh * d->OW + ow;
      total += load_n(image + i * d->C, n) * share[i];
    }
  store_n(dx, total, n);
}

static void gather_row(const fc_pool2d *d, int64_t row, const real *dy, const real *dy_end, const real *share, real *dx,
                       const real *dx_end) {
  const real *image = dy + row / d->H * d->OH * d->OW * d->C;
  window from;
  readers_of(row % d->H, d->PT, d->PH, d->SH, d->OH, &from.top, &from.bottom);
  for (int64_t w = 0; w < d->W; w++) {
    readers_of(w, d->PL, d->PW, d->SW, d->OW, &from.left, &from.right);
    int none = from.top >= from.bottom || from.left >= from.right;
    const real *end = none ? image : image + ((from.bottom - 1) * d->OW + from.right) * d->C;
    for (int64_t c = 0; c < d->C; c += VL) {
      real *to = dx + (row * d->W + w) * d->C + c;
      if (may_spill(d, c, end, dy_end, to, dx_end))
        gather_mean(d, image + c, from, share, VL, to);
      else
        gather_mean(d, image + c, from, share, d->C - c, to);
    }
  }
}

/* dy (N, OH, OW, C) -> dx (N, H, W, C) */
fc_status FC(avg_pool2d_backward)(const fc_pool2d *d, int include_pad, const void *dy_, void *dx_) {
  const real *dy = dy_, *dy_end = dy + d->N * d->OH * d->OW * d->C;
  real *dx = dx_, *share = fc_alloc((size_t)(d->OH * d->OW) * sizeof(real));
  if (!share) return FC_NO_MEMORY;
  for (int64_t i = 0; i < d->OH * d->OW; i++) share[i] = 1 / count_of(d, i / d->OW, i % d->OW, include_pad);
  int64_t rows = d->N * d->H, length = d->W * d->C, block = rows_of_a_block(length, 1);
#pragma omp parallel for num_threads(fc_threads_for(rows *length)) schedule(static)
  for (int64_t first = 0; first < rows; first += block) {
    int64_t last = min_i64(rows, first + block);
    for (int64_t row = first; row < last; row++) gather_row(d, row, dy, dy_end, share, dx, dx + last * length);
  }
  fc_free(share);
  return FC_OK;
}
