/* Gradient of PReLU, whose slopes are learned. K. He et al. (ICCV 2015). */
#include "columns.h"

/* part (chunks, width) -> sums (C), in one order */
static void add_chunks(const columns *k, const real *part, real *sums) {
  for (int64_t c = 0; c < k->C; c++) {
    double sum = 0;
    for (int64_t i = 0; i < k->chunks; i++)
      for (int64_t j = c; j < k->width; j += k->C) sum += part[i * k->width + j];
    sums[c] = (real)sum;
  }
}

/* dy, x (rows, C), slope (C) -> dx (rows, C) = dy where x > 0, else slope * dy; dslope (C) = sum of dy * x where x <= 0
 */
fc_status FC(prelu_backward)(int64_t rows, int64_t C, const void *slope_, const void *dy_, const void *x_, void *dx_,
                             void *dslope) {
  const real *dy = dy_, *x = x_;
  real *dx = dx_;
  columns k = columns_of(rows, C);
  real *slope = fc_alloc((size_t)((1 + k.chunks) * k.width) * sizeof(real)), *part = slope + k.width;
  if (!slope) return FC_NO_MEMORY;
  widen(&k, slope_, slope);
#pragma omp parallel for num_threads(fc_threads_for(k.size)) schedule(static)
  for (int64_t i = 0; i < k.chunks; i++) {
    real *restrict sum = part + i * k.width;
    memset(sum, 0, (size_t)k.width * sizeof(real));
    int64_t end = min_i64(k.size, (i + 1) * k.chunk);
    for (int64_t first = i * k.chunk; first < end; first += k.width)
      for (int64_t j = 0; j < min_i64(k.width, end - first); j++) {
        real d = dy[first + j], v = x[first + j];
        dx[first + j] = v > 0 ? d : d * slope[j];
        sum[j] += v > 0 ? 0 : d * v;
      }
  }
  add_chunks(&k, part, dslope);
  fc_free(slope);
  return FC_OK;
}
