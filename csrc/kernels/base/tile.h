/* The two micro-kernels that every product in fastconv ends in. A tile is mr rows by nv vectors of accumulators that
 * stay in registers; tile.c compiles one function per (mr, nv) and puts them into two tables. */
#ifndef FC_TILE_H
#define FC_TILE_H

#include "rectifier.h"

enum { MR_MAX = FC_MR1 > FC_MR2 ? FC_MR1 : FC_MR2, NV_MAX = 3, HEIGHTS_MAX = 14 };

/* Where a tile goes: y[i][0 .. cols) (+)= row i, then bias and activation. */
typedef struct {
  int64_t cols; /* <= nv * VL */
  int accumulate;
  fc_activation_kind kind; /* FC_LINEAR, FC_RELU, FC_RELU6, FC_LEAKY_RELU or FC_PRELU */
  real parameter;
  const real *bias;  /* padded to nv * VL; zeros for none */
  const real *slope; /* likewise, FC_PRELU only */
  int past; /* whole tiles go past the caches: y is aligned to vectors, and the caller ends with stream_fence */
} tile_output;

/* + bias, then the activation, for the VL columns from `column` on */
FC_INLINE vec tile_epilogue(vec v, const tile_output *out, int64_t column) {
  vec slope = out->kind == FC_PRELU ? load(out->slope + column) : splat(out->parameter);
  return rectify(out->kind, v + load(out->bias + column), slope);
}

/* Rows: y[i] = sum over taps t and depth k of a[t * a_tap + i][k] * b[t][k][0 .. nv * VL).
 * Every row has a pointer of its own for each tap, so nothing is copied to bring rows together. */
typedef void tile_rows_fn(int64_t taps, int64_t depth, const real *const *a, int64_t a_tap, int fetch, const real *b,
                          real *const *y, const tile_output *out);

/* Outer: y[i] = sum over segments s and steps p of a_s[a_first + p * a_step + i] * b_s[b_first + p * b_step
 * + 0 .. nv * VL): rank-1 updates; rows of y are y_pitch apart. */
typedef struct {
  const real *a, *b;
  int64_t steps;
} tile_segment;
typedef struct {
  const tile_segment *segments;
  int64_t count, a_first, a_step, b_first, b_step;
} tile_operands;
typedef void tile_outer_fn(const tile_operands *in, real *y, int64_t y_pitch, const tile_output *out);

FC_HIDDEN extern tile_rows_fn *const FC(tile_rows)[NV_MAX][HEIGHTS_MAX];   /* [nv - 1][mr - 1] */
FC_HIDDEN extern tile_outer_fn *const FC(tile_outer)[NV_MAX][HEIGHTS_MAX]; /* likewise */

/* Rows of a tile that is nv vectors wide. */
FC_INLINE int tile_height(int nv) { return nv == 1 ? FC_MR1 : nv == 2 ? FC_MR2 : FC_MR3; }

/* N columns are cut into panels two vectors wide; an odd number of vectors ends in a panel of three (or is one). */
FC_INLINE int64_t panel_count(int64_t N) { return max_i64(ceil_div(N, VL) / 2, 1); }
FC_INLINE int panel_width(int64_t N, int64_t panel) {
  int64_t vectors = ceil_div(N, VL);
  if (vectors == 1) return 1;
  return panel == panel_count(N) - 1 ? 2 + (int)(vectors & 1) : 2;
}
FC_INLINE int64_t panel_start(int64_t panel) { return panel * 2 * VL; }
FC_INLINE int64_t padded_cols(int64_t N) { return ceil_div(N, VL) * VL; }

/* B (K, N) with element strides -> panels [panel][K][width * VL], columns past N zero. */
FC_HIDDEN void FC(pack_panels)(int64_t K, int64_t N, const real *b, int64_t b_row, int64_t b_col, real *packed);
/* One panel of them, by one thread: b (K, cols) -> packed [K][full], columns past cols zero. */
FC_HIDDEN void FC(pack_panel)(int64_t K, int64_t cols, const real *b, int64_t b_row, int64_t b_col, int64_t full,
                              real *packed);
/* n values (or none: NULL) -> padded_cols(n) values, the rest zero. */
FC_HIDDEN void FC(pad_row)(int64_t n, const real *values, real *padded);

#endif
