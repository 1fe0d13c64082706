/* Pooling of x (N, H, W, C) into y (N, OH, OW, C): maximum and mean of every window, and their gradients.
 *
 * A window is the part of (PH, PW) that lies in the input: padding never wins and adds nothing. A thread owns a block
 * of whole rows and goes through it from left to right, so the last vector of a pixel may spill over into the next
 * pixel, which is overwritten later; only at the end of the block (or of the tensor that is read) is it cut short. */
#include "kernels/base/simd.h"

enum {
  BLOCK = 8192, /* elements that a thread takes at a time */
  NV = 4        /* vectors of channels that go through a window together */
};

typedef int32_t index_vec __attribute__((vector_size(FC_VEC_BYTES / sizeof(real) * sizeof(int32_t))));

FC_INLINE void store_index(int32_t *p, ivec index, int64_t n) {
  index_vec v = __builtin_convertvector(index, index_vec);
  memcpy(p, &v, (size_t)n * sizeof *p);
}

FC_INLINE ivec load_index(const int32_t *p, int64_t n) {
  index_vec v = {0};
  memcpy(&v, p, (size_t)n * sizeof *p);
  return __builtin_convertvector(v, ivec);
}

/* The window of output pixel (oh, ow), clipped to the input: rows [top, bottom), columns [left, right). */
typedef struct {
  int64_t top, bottom, left, right;
} window;

FC_INLINE window window_of(const fc_pool2d *d, int64_t oh, int64_t ow) {
  int64_t h = oh * d->SH - d->PT, w = ow * d->SW - d->PL;
  return (window){max_i64(h, 0), min_i64(h + d->PH, d->H), max_i64(w, 0), min_i64(w + d->PW, d->W)};
}

FC_INLINE int64_t rows_of_a_block(int64_t row_length, int64_t reads) {
  return max_i64(1, BLOCK / (row_length * reads));
}

/* May whole vectors be used for the channels from c on, reading a pixel that ends at `end` and writing one at `to`? */
FC_INLINE int may_spill(const fc_pool2d *d, int64_t c, const real *end, const real *x_end, const real *to,
                        const real *y_end) {
  return c + VL <= d->C || (VL - (d->C - c) <= x_end - end && VL <= y_end - to);
}

/* Whether the pixels of an output of so many go past the caches. */
FC_INLINE int pixels_go_past(const fc_pool2d *d, int64_t pixels, const real *to) {
  return d->C % VL == 0 && goes_past(to, pixels * d->C);
}

/* Maximum and flat index of the first one, a NaN above everything, of nv whole vectors of channels, or (nv = 1) of the
 * first n lanes of one. nv is a constant wherever this is inlined, and so is n for whole vectors. */
FC_INLINE void max_of_window(const fc_pool2d *d, const real *image, window w, int nv, int64_t n, int past, real *y,
                             int32_t *argmax) {
  vec best[NV];
  ivec where[NV];
  for (int v = 0; v < nv; v++) {
    best[v] = load_n(image + (w.top * d->W + w.left) * d->C + v * VL, n);
    where[v] = (ivec){0} + (integer)(w.top * d->W + w.left);
  }
  for (int64_t h = w.top; h < w.bottom; h++)
    for (int64_t p = h * d->W + w.left; p < h * d->W + w.right; p++)
      for (int v = 0; v < nv; v++) {
        vec value = load_n(image + p * d->C + v * VL, n);
        ivec wins = ~(value <= best[v]) & (best[v] == best[v]);
        best[v] = blend(wins, value, best[v]);
        where[v] = (where[v] & ~wins) | (((ivec){0} + (integer)p) & wins);
      }
  for (int v = 0; v < nv; v++) {
    put(y + v * VL, best[v], n, past);
    if (argmax) store_index(argmax + v * VL, where[v], n);
  }
}

FC_INLINE void max_of_row(const fc_pool2d *d, int64_t row, const real *x, const real *x_end, real *y, const real *y_end,
                          int32_t *argmax) {
  int past = pixels_go_past(d, d->N * d->OH * d->OW, y);
  const real *image = x + row / d->OH * d->H * d->W * d->C;
  for (int64_t ow = 0; ow < d->OW; ow++) {
    window w = window_of(d, row % d->OH, ow);
    const real *end = image + ((w.bottom - 1) * d->W + w.right) * d->C;
    int64_t i = (row * d->OW + ow) * d->C, c = 0;
    for (; c + NV * VL <= d->C; c += NV * VL)
      max_of_window(d, image + c, w, NV, VL, past, y + i + c, argmax ? argmax + i + c : NULL);
    for (; c < d->C; c += VL)
      if (may_spill(d, c, end, x_end, y + i + c, y_end))
        max_of_window(d, image + c, w, 1, VL, past, y + i + c, argmax ? argmax + i + c : NULL);
      else
        max_of_window(d, image + c, w, 1, d->C - c, past, y + i + c, argmax ? argmax + i + c : NULL);
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
    stream_fence();
  }
  return FC_OK;
}

FC_INLINE void mean_of_window(const fc_pool2d *d, const real *image, window w, real count, int nv, int64_t n, int past,
                              real *y) {
  vec total[NV] = {{0}};
  for (int64_t h = w.top; h < w.bottom; h++) {
    vec line[NV] = {{0}}; /* summed row by row: large windows lose less */
    for (int64_t p = h * d->W + w.left; p < h * d->W + w.right; p++)
      for (int v = 0; v < nv; v++) line[v] += load_n(image + p * d->C + v * VL, n);
    for (int v = 0; v < nv; v++) total[v] += line[v];
  }
  if (((int64_t)count & ((int64_t)count - 1)) == 0) /* a power of two: the product is exact, and a division slow */
    for (int v = 0; v < nv; v++) put(y + v * VL, total[v] * (1 / count), n, past);
  else
    for (int v = 0; v < nv; v++) put(y + v * VL, total[v] / count, n, past);
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
  int past = pixels_go_past(d, d->N * d->OH * d->OW, y);
  const real *image = x + row / d->OH * d->H * d->W * d->C;
  for (int64_t ow = 0; ow < d->OW; ow++) {
    window w = window_of(d, row % d->OH, ow);
    real count = count_of(d, row % d->OH, ow, include_pad), *to = y + (row * d->OW + ow) * d->C;
    const real *end = image + ((w.bottom - 1) * d->W + w.right) * d->C;
    int64_t c = 0;
    for (; c + NV * VL <= d->C; c += NV * VL) mean_of_window(d, image + c, w, count, NV, VL, past, to + c);
    for (; c < d->C; c += VL)
      if (may_spill(d, c, end, x_end, to + c, y_end))
        mean_of_window(d, image + c, w, count, 1, VL, past, to + c);
      else
        mean_of_window(d, image + c, w, count, 1, d->C - c, past, to + c);
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
    stream_fence();
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

/* (W, 2): the output columns that read each input column */
static void find_readers(const fc_pool2d *d, int64_t *readers) {
  for (int64_t w = 0; w < d->W; w++) readers_of(w, d->PL, d->PW, d->SW, d->OW, &readers[2 * w], &readers[2 * w + 1]);
}

/* Sets the columns of a pixel's window of readers; returns the end of what it reads of dy's image. */
FC_INLINE const real *reach_of(const fc_pool2d *d, const real *image, const int64_t *readers, window *from) {
  from->left = readers[0], from->right = readers[1];
  int none = from->top >= from->bottom || from->left >= from->right;
  return none ? image : image + ((from->bottom - 1) * d->OW + from->right) * d->C;
}

/* dx of a pixel = sum over the windows that hold it of dy / count */
FC_INLINE void gather_mean(const fc_pool2d *d, const real *image, window from, const real *share, int nv, int64_t n,
                           int past, real *dx) {
  vec total[NV] = {{0}};
  for (int64_t oh = from.top; oh < from.bottom; oh++)
    for (int64_t i = oh * d->OW + from.left; i < oh * d->OW + from.right; i++)
      for (int v = 0; v < nv; v++) total[v] += load_n(image + i * d->C + v * VL, n) * share[i];
  for (int v = 0; v < nv; v++) put(dx + v * VL, total[v], n, past);
}

/* dx of pixel p = sum over the windows that it won of dy; *wins -= 1 in every one of the first n lanes that won, though
 * all lanes are gathered where `whole`. */
FC_INLINE void gather_max(const fc_pool2d *d, const real *image, const int32_t *argmax, int64_t p, window from, int nv,
                          int64_t n, int whole, int past, real *dx, ivec *wins) {
  vec total[NV] = {{0}};
  int64_t lanes = whole ? VL : n;
  ivec counted = lanes_below(n);
  for (int64_t oh = from.top; oh < from.bottom; oh++)
    for (int64_t i = oh * d->OW + from.left; i < oh * d->OW + from.right; i++)
      for (int v = 0; v < nv; v++) {
        ivec won = load_index(argmax + i * d->C + v * VL, lanes) == (integer)p;
        total[v] += blend(won, load_n(image + i * d->C + v * VL, lanes), splat(0));
        *wins += won & counted;
      }
  for (int v = 0; v < nv; v++) put(dx + v * VL, total[v], lanes, past);
}

/* readers (W, 2): the output columns that read each input column */
static void gather_mean_row(const fc_pool2d *d, int64_t row, const real *dy, const real *dy_end, const real *share,
                            const int64_t *readers, real *dx, const real *dx_end) {
  const real *image = dy + row / d->H * d->OH * d->OW * d->C;
  int past = pixels_go_past(d, d->N * d->H * d->W, dx);
  window from;
  readers_of(row % d->H, d->PT, d->PH, d->SH, d->OH, &from.top, &from.bottom);
  for (int64_t w = 0; w < d->W; w++) {
    const real *end = reach_of(d, image, readers + 2 * w, &from);
    real *to = dx + (row * d->W + w) * d->C;
    int64_t c = 0;
    for (; c + NV * VL <= d->C; c += NV * VL) gather_mean(d, image + c, from, share, NV, VL, past, to + c);
    for (; c < d->C; c += VL)
      if (may_spill(d, c, end, dy_end, to + c, dx_end))
        gather_mean(d, image + c, from, share, 1, VL, past, to + c);
      else
        gather_mean(d, image + c, from, share, 1, d->C - c, past, to + c);
  }
}

/* Likewise; returns how many windows were won. */
static int64_t gather_max_row(const fc_pool2d *d, int64_t row, const real *dy, const real *dy_end,
                              const int32_t *argmax, const int64_t *readers, real *dx, const real *dx_end) {
  int64_t first = row / d->H * d->OH * d->OW * d->C, count = 0;
  const real *image = dy + first;
  int past = pixels_go_past(d, d->N * d->H * d->W, dx);
  ivec wins = {0};
  window from;
  readers_of(row % d->H, d->PT, d->PH, d->SH, d->OH, &from.top, &from.bottom);
  for (int64_t w = 0; w < d->W; w++) {
    const real *end = reach_of(d, image, readers + 2 * w, &from);
    real *to = dx + (row * d->W + w) * d->C;
    int64_t c = 0, p = row % d->H * d->W + w;
    for (; c + NV * VL <= d->C; c += NV * VL)
      gather_max(d, image + c, argmax + first + c, p, from, NV, VL, 1, past, to + c, &wins);
    for (; c < d->C; c += VL) {
      int64_t n = min_i64(VL, d->C - c);
      if (may_spill(d, c, end, dy_end, to + c, dx_end))
        gather_max(d, image + c, argmax + first + c, p, from, 1, n, 1, past, to + c, &wins);
      else
        gather_max(d, image + c, argmax + first + c, p, from, 1, n, 0, past, to + c, &wins);
    }
  }
  for (int l = 0; l < VL; l++) count -= wins[l];
  return count;
}

/* dy (N, OH, OW, C) -> dx (N, H, W, C) */
fc_status FC(avg_pool2d_backward)(const fc_pool2d *d, int include_pad, const void *dy_, void *dx_) {
  const real *dy = dy_, *dy_end = dy + d->N * d->OH * d->OW * d->C;
  real *dx = dx_, *share;
  int64_t *readers;
  fc_workspace memory = {0};
  FC_PART(&memory, share, d->OH * d->OW);
  FC_PART(&memory, readers, 2 * d->W);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  find_readers(d, readers);
  for (int64_t i = 0; i < d->OH * d->OW; i++) share[i] = 1 / count_of(d, i / d->OW, i % d->OW, include_pad);
  int64_t rows = d->N * d->H, length = d->W * d->C, block = rows_of_a_block(length, 1);
#pragma omp parallel for num_threads(fc_threads_for(rows *length)) schedule(static)
  for (int64_t first = 0; first < rows; first += block) {
    int64_t last = min_i64(rows, first + block);
    for (int64_t row = first; row < last; row++)
      gather_mean_row(d, row, dy, dy_end, share, readers, dx, dx + last * length);
    stream_fence();
  }
  fc_workspace_free(&memory);
  return FC_OK;
}

/* dy, argmax (N, OH, OW, C) -> dx (N, H, W, C): every input pixel asks the windows that hold it whether it won them, so
 * that dx is written once. Sums run in row-major order of the output, as in max_pool2d_backward. */
fc_status FC(max_pool2d_backward_windows)(const fc_pool2d *d, const void *dy_, const int32_t *argmax, void *dx_) {
  /* few channels or many questions: going to the winners costs less */
  if (d->C < NV * VL || ceil_div(d->PH, d->SH) * ceil_div(d->PW, d->SW) > VL)
    return FC(max_pool2d_backward)(d->N, d->OH * d->OW, d->H * d->W, d->C, dy_, argmax, dx_);
  const real *dy = dy_, *dy_end = dy + d->N * d->OH * d->OW * d->C;
  real *dx = dx_;
  int64_t *readers = fc_alloc((size_t)(2 * d->W) * sizeof(int64_t));
  if (!readers) return FC_NO_MEMORY;
  find_readers(d, readers);
  int64_t rows = d->N * d->H, length = d->W * d->C, block = rows_of_a_block(length, 1);
  int64_t won = 0; /* every output has one winner, which asks it once, unless its index lies outside its window */
#pragma omp parallel for num_threads(fc_threads_for(rows *length)) schedule(static) reduction(+ : won)
  for (int64_t first = 0; first < rows; first += block) {
    int64_t last = min_i64(rows, first + block);
    for (int64_t row = first; row < last; row++)
      won += gather_max_row(d, row, dy, dy_end, argmax, readers, dx, dx + last * length);
    stream_fence();
  }
  fc_free(readers);
  return won == d->N * d->OH * d->OW * d->C ? FC_OK : FC_BAD_INDEX;
}
