/* Inputs side by side, and sums of inputs: what joins the branches of a network. */
#include "kernels/base/simd.h"

enum { BLOCK = 8192 }; /* elements that a thread takes at a time */

/* rows of n values, pitch apart on either side */
fc_status FC(copy_rows)(int64_t rows, int64_t n, int64_t x_pitch, const void *x_, int64_t y_pitch, void *y_) {
  const real *x = x_;
  real *y = y_;
  int64_t width = min_i64(n, BLOCK), parts = ceil_div(n, width), block = max_i64(1, BLOCK / width);
#pragma omp parallel for num_threads(fc_threads_for(rows *n)) schedule(static)
  for (int64_t first = 0; first < rows * parts; first += block)
    for (int64_t i = first; i < min_i64(rows * parts, first + block); i++) {
      int64_t r = i / parts, j = i % parts * width;
      memcpy(y + r * y_pitch + j, x + r * x_pitch + j, (size_t)min_i64(width, n - j) * sizeof(real));
    }
  return FC_OK;
}

/* y (rows, n) = a + b, whose rows lie pitches apart; y may be a or b, row by row the same. */
fc_status FC(add)(int64_t rows, int64_t n, int64_t a_pitch, const void *a_, int64_t b_pitch, const void *b_, void *y_) {
  const real *a = a_, *b = b_;
  real *y = y_;
  int past = y != a && y != b && n % VL == 0 && goes_past(y, rows * n);
  if (a_pitch == n && b_pitch == n) n *= rows, rows = 1;
  int64_t width = min_i64(n, BLOCK), parts = width ? ceil_div(n, width) : 0,
          block = width ? max_i64(1, BLOCK / width) : 1;
#pragma omp parallel for num_threads(fc_threads_for(rows *n)) schedule(static)
  for (int64_t first = 0; first < rows * parts; first += block) {
    for (int64_t task = first; task < min_i64(rows * parts, first + block); task++) {
      int64_t r = task / parts, at = task % parts * width;
      const real *left = a + r * a_pitch + at, *right = b + r * b_pitch + at;
      real *to = y + r * n + at;
      FOR_VECTORS(min_i64(width, n - at), put(to + i, load_n(left + i, lanes) + load_n(right + i, lanes), lanes, past));
    }
    stream_fence();
  }
  return FC_OK;
}
