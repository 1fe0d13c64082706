/* The micro-kernels, once for each height and width a tile can have. */
#include "tile.h"

enum {
  AHEAD = 8,                            /* steps from the prefetch of a row of B to its use */
  LINE = CACHE_LINE / (int)sizeof(real) /* depths of a pixel that a line of the cache holds */
};

/* sum: [mr][nv] vectors; y: mr rows. Any columns, any activation, with or without accumulation. */
static FC_NOINLINE void store_any(const int mr, const int nv, const vec *sum, real *const *y, const tile_output *out) {
  for (int i = 0; i < mr; i++)
    for (int j = 0; j < nv && j * VL < out->cols; j++) {
      real *to = y[i] + j * VL;
      int64_t lanes = min_i64(out->cols - j * VL, VL);
      vec v = sum[i * nv + j];
      if (out->accumulate) v += load_n(to, lanes);
      store_n(to, tile_epilogue(v, out, j * VL), lanes);
    }
}

/* The common cases (all columns; accumulate, or bias and at most relu) straight from the registers. */
FC_INLINE void store_tile(const int mr, const int nv, vec (*sum)[NV_MAX], real *const *y, const tile_output *out) {
  if (out->cols < nv * VL || out->kind > FC_RELU) {
    vec spilled[MR_MAX * NV_MAX];
    UNROLL(16)
    for (int i = 0; i < mr; i++) {
      UNROLL(3)
      for (int j = 0; j < nv; j++) spilled[i * nv + j] = sum[i][j];
    }
    store_any(mr, nv, spilled, y, out);
    return;
  }
  if (out->accumulate) {
    UNROLL(16)
    for (int i = 0; i < mr; i++) {
      UNROLL(3)
      for (int j = 0; j < nv; j++) sum[i][j] += load(y[i] + j * VL);
    }
  }
  vec low = splat(out->kind == FC_RELU ? 0 : -(real)INFINITY);
  UNROLL(3)
  for (int j = 0; j < nv; j++) {
    vec bias = load(out->bias + j * VL);
    UNROLL(16)
    for (int i = 0; i < mr; i++) {
      vec v = at_least(sum[i][j] + bias, low);
      if (out->past)
        stream(y[i] + j * VL, v);
      else
        store(y[i] + j * VL, v);
    }
  }
}

/* sum (mr, nv) += row[i][k] b[k] for count depths k; b: [k][nv * VL] */
FC_INLINE void add_depths(const int mr, const int nv, int64_t count, const real *const *row, const real *b,
                          vec (*sum)[NV_MAX]) {
  for (int64_t k = 0; k < count; k++, b += nv * VL) {
    vec bk[NV_MAX];
    UNROLL(3)
    for (int j = 0; j < nv; j++) {
      bk[j] = load(b + j * VL);
      __builtin_prefetch(b + (AHEAD * nv + j) * VL); /* panels larger than L1 come from L2 */
    }
    UNROLL(16)
    for (int i = 0; i < mr; i++) {
      vec ak = splat(row[i][k]);
      UNROLL(3)
      for (int j = 0; j < nv; j++) sum[i][j] += ak * bk[j];
    }
  }
}

/* a: [taps][a_tap] pointers to depth values; b: [taps][depth][nv * VL]; y: mr pointers to cols values */
FC_INLINE void rows(const int mr, const int nv, int64_t taps, int64_t depth, const real *const *a, int64_t a_tap,
                    int fetch, const real *b, real *const *y, const tile_output *out) {
  vec sum[MR_MAX][NV_MAX];
  UNROLL(16)
  for (int i = 0; i < mr; i++) {
    UNROLL(3)
    for (int j = 0; j < nv; j++) sum[i][j] = (vec){0};
  }
  for (int64_t t = 0; t < taps; t++, a += a_tap) {
    const real *row[MR_MAX];
    UNROLL(16)
    for (int i = 0; i < mr; i++) row[i] = a[i];
    int64_t k = 0;
    for (; fetch && k + LINE <= depth; k += LINE) {
      UNROLL(16)
      for (int i = 0; i < mr; i++) {
        __builtin_prefetch(a[fetch + i] + k);
      }
      add_depths(mr, nv, LINE, row, b, sum);
      b += LINE * nv * VL;
      UNROLL(16)
      for (int i = 0; i < mr; i++) row[i] += LINE;
    }
    add_depths(mr, nv, depth - k, row, b, sum);
    b += (depth - k) * nv * VL;
  }
  store_tile(mr, nv, sum, y, out);
}

/* sum (mr, nv) += a[0 .. mr) b[0 .. nv * VL) */
FC_INLINE void rank_one(const int mr, const int nv, const real *a, const real *b, vec (*sum)[NV_MAX]) {
  vec bp[NV_MAX];
  UNROLL(3)
  for (int j = 0; j < nv; j++) bp[j] = load(b + j * VL);
  UNROLL(16)
  for (int i = 0; i < mr; i++) {
    vec ap = splat(a[i]);
    UNROLL(3)
    for (int j = 0; j < nv; j++) sum[i][j] += ap * bp[j];
  }
}

/* segments of a: [steps][a_step], b: [steps][b_step]; y: [mr][y_pitch]. A small tile takes even and odd steps into sums
 * of their own: with few accumulators the next update would wait for the last one. */
FC_INLINE void outer(const int mr, const int nv, const tile_operands *in, real *y, int64_t y_pitch,
                     const tile_output *out) {
  const int64_t a_step = in->a_step, b_step = in->b_step;
  const int small = mr * nv <= 6;
  vec sum[MR_MAX][NV_MAX], odd[MR_MAX][NV_MAX];
  UNROLL(16)
  for (int i = 0; i < mr; i++) {
    UNROLL(3)
    for (int j = 0; j < nv; j++) sum[i][j] = odd[i][j] = (vec){0};
  }
  for (const tile_segment *s = in->segments; s < in->segments + in->count; s++) {
    const real *a = s->a + in->a_first, *b = s->b + in->b_first;
    int64_t p = s->steps;
    for (; small && p > 1; p -= 2, a += 2 * a_step, b += 2 * b_step) {
      rank_one(mr, nv, a, b, sum);
      rank_one(mr, nv, a + a_step, b + b_step, odd);
    }
    for (; p > 0; p--, a += a_step, b += b_step) rank_one(mr, nv, a, b, sum);
  }
  real *row[MR_MAX];
  UNROLL(16)
  for (int i = 0; i < mr; i++) {
    row[i] = y + i * y_pitch;
    UNROLL(3)
    for (int j = 0; small && j < nv; j++) sum[i][j] += odd[i][j];
  }
  store_tile(mr, nv, sum, row, out);
}

/* Every height that any width has on any instruction set. */
#define HEIGHTS(F, nv) \
  F(1, nv)             \
  F(2, nv)             \
  F(3, nv) F(4, nv) F(5, nv) F(6, nv) F(7, nv) F(8, nv) F(9, nv) F(10, nv) F(11, nv) F(12, nv) F(13, nv) F(14, nv)
#define FITS(mr, nv) (mr <= (nv == 1 ? FC_MR1 : nv == 2 ? FC_MR2 : FC_MR3))

#define DEFINE(mr, nv)                                                                                       \
  static void rows_##mr##x##nv(int64_t taps, int64_t depth, const real *const *a, int64_t a_tap, int fetch,  \
                               const real *b, real *const *y, const tile_output *out) {                      \
    if (FITS(mr, nv)) rows(mr, nv, taps, depth, a, a_tap, fetch, b, y, out);                                 \
  }                                                                                                          \
  static void outer_##mr##x##nv(const tile_operands *in, real *y, int64_t y_pitch, const tile_output *out) { \
    if (FITS(mr, nv)) outer(mr, nv, in, y, y_pitch, out);                                                    \
  }
HEIGHTS(DEFINE, 1)
HEIGHTS(DEFINE, 2)
HEIGHTS(DEFINE, 3)

#define ROWS(mr, nv) rows_##mr##x##nv,
#define OUTER(mr, nv) outer_##mr##x##nv,
FC_HIDDEN tile_rows_fn *const FC(tile_rows)[NV_MAX][HEIGHTS_MAX] = {
    {HEIGHTS(ROWS, 1)}, {HEIGHTS(ROWS, 2)}, {HEIGHTS(ROWS, 3)}};
FC_HIDDEN tile_outer_fn *const FC(tile_outer)[NV_MAX][HEIGHTS_MAX] = {
    {HEIGHTS(OUTER, 1)}, {HEIGHTS(OUTER, 2)}, {HEIGHTS(OUTER, 3)}};
