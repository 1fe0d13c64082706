/* Inputs side by side, and sums of inputs: what joins the branches of a network. */
#include "simd.h"

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

/* y = a + b; y may be a */
fc_status FC(add)(int64_t n, const void *a_, const void *b_, void *y_) {
  const real *a = a_, *b = b_;
  real *y = y_;
  int past = y != a && y != b && goes_past(y, n);
#pragma omp parallel for num_threads(fc_threads_for(n)) schedule(static)
  for (int64_t first = 0; first < n; first += BLOCK) {
    int64_t i = first, last = min_i64(n, first + BLOCK);
    for (; i + VL <= last; i += VL) put(y + i, load(a + i) + load(b + i), VL, past);
    if (i < last) store_part(y + i, load_part(a + i, last - i) + load_part(b + i, last - i), last - i);
    stream_fence();
  }
  return FC_OK;
}
