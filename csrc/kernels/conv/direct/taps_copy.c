/* Two cases in which a copy of the input pays, although taps could be read in place.
 *
 * Few channels: the taps of a kernel row are merged into one that is KW times as deep, as neighbours in a row lie one
 * after the other in memory. With padding at its sides the row needs a copy that holds the padding.
 *
 *      x  | a b c | d e f | g h i |          3 taps of depth 3:   . . .   . . .   . . .
 *                                            1 tap of depth 9:    . . . . . . . . .
 *
 * Pixels a multiple of CACHE_WAY apart: they all fall into the same few lines of L1, and push each other out. The copy
 * has a line between them.
 *
 * x (N, H, W, C). */
#include "taps.h"

enum { FEW_CHANNELS = 8 };

real *FC(pad_columns)(const tap_image *x, int64_t C, int64_t left, int64_t right) {
  int64_t rows = x->N * x->H, wide = left + x->W + right;
  real *copy = fc_alloc((size_t)(rows * wide * C) * sizeof(real));
  if (!copy) return NULL;
#pragma omp parallel for num_threads(fc_threads_for(rows * wide * C)) schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    real *to = copy + r * wide * C;
    const real *from = x->data + r * x->W * x->pitch;
    memset(to, 0, (size_t)(left * C) * sizeof(real));
    memset(to + (left + x->W) * C, 0, (size_t)(right * C) * sizeof(real));
    to += left * C;
    if (x->pitch == C)
      memcpy(to, from, (size_t)(x->W * C) * sizeof(real));
    else
      for (int64_t w = 0; w < x->W; w++) memcpy(to + w * C, from + w * x->pitch, (size_t)C * sizeof(real));
  }
  return copy;
}

fc_status FC(merge_taps)(tap_product *p, tap *taps, int64_t row, real **copy) {
  if (row < 2 || FC(few_columns)(p)) return FC_OK;
  int64_t rows = p->taps / row, left = max_i64(0, -taps[0].w);
  int64_t right = max_i64(0, (p->GW - 1) * p->step_w + taps[row - 1].w - (p->in.W - 1));
  int few = p->depth <= FEW_CHANNELS; /* then even a padded copy pays */
  if (p->in.pitch != p->depth || ((left || right) && !few)) return FC_OK;
  if (left || right) {
    *copy = FC(pad_columns)(&p->in, p->depth, left, right);
    if (!*copy) return FC_NO_MEMORY;
    p->in.data = *copy;
    p->in.W += left + right;
  }
  for (int64_t r = 0; r < rows; r++) taps[r] = (tap){taps[r * row].h, taps[r * row].w + left};
  p->taps = rows;
  p->depth *= row;
  return FC_OK;
}

fc_status FC(spread_pixels)(tap_product *p, real **copy) {
  int collide = p->in.pitch * (int64_t)sizeof(real) % CACHE_WAY == 0;
  if (!collide || p->depth != p->weights.depth || p->cols < 4 * VL) return FC_OK;
  int64_t pixels = p->in.N * p->in.H * p->in.W, pitch = p->depth + VL;
  const real *from = p->in.data;
  real *to = fc_alloc((size_t)(pixels * pitch) * sizeof(real));
  if (!to) return FC_NO_MEMORY;
#pragma omp parallel for num_threads(fc_threads_for(pixels * p->depth)) schedule(static)
  for (int64_t i = 0; i < pixels; i++) memcpy(to + i * pitch, from + i * p->in.pitch, (size_t)p->depth * sizeof(real));
  p->in.data = *copy = to;
  p->in.pitch = pitch;
  return FC_OK;
}
