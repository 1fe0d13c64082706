/* Between channels-first and channels-last: a batch of transposes (rows, cols) -> (cols, rows). */
#include "kernels/base/simd.h"

enum { TILE = 32 }; /* a tile of both sides fits L1 */

static void transpose_tile(int64_t rows, int64_t cols, int64_t x_row, int64_t y_row, const real *restrict x,
                           real *restrict y) {
  if (rows == TILE) { /* a constant trip count, so that the compiler unrolls */
    for (int64_t c = 0; c < cols; c++)
      for (int64_t r = 0; r < TILE; r++) y[c * y_row + r] = x[r * x_row + c];
    return;
  }
  for (int64_t c = 0; c < cols; c++)
    for (int64_t r = 0; r < rows; r++) y[c * y_row + r] = x[r * x_row + c];
}

/* element (b, r, c): x[b * x_batch + r * x_row + c] -> y[b * y_batch + c * y_row + r] */
fc_status FC(transpose)(const fc_transpose *t, const void *x_, void *y_) {
  const real *x = x_;
  real *y = y_;
  int64_t row_tiles = ceil_div(t->rows, TILE), col_tiles = ceil_div(t->cols, TILE);
#pragma omp parallel for num_threads(fc_threads_for(t->batch * t->rows * t->cols)) schedule(static)
  for (int64_t i = 0; i < t->batch * col_tiles; i++) {
    int64_t b = i / col_tiles, c = i % col_tiles * TILE, cols = min_i64(TILE, t->cols - c);
    for (int64_t tile = 0; tile < row_tiles; tile++) {
      int64_t r = tile * TILE;
      transpose_tile(min_i64(TILE, t->rows - r), cols, t->x_row, t->y_row, x + b * t->x_batch + r * t->x_row + c,
                     y + b * t->y_batch + c * t->y_row + r);
    }
  }
  return FC_OK;
}
