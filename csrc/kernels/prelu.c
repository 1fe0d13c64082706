/* Gradient of PReLU, whose slopes are learned; the sum over the rows of a matrix. */
#include "columns.h"

/* x (rows, C) -> sums (C), in fixed chunks and one order; takes `part` (chunks * width) as its workspace */
static void add_chunks(const columns *k, const real *part, real *sums) {
  for (int64_t c = 0; c < k->C; c++) {
    double sum = 0;
    for (int64_t i = 0; i < k->chunks; i++)
      for (int64_t j = c; j < k->width; j += k->C) sum += part[i * k->width + j];
    sums[c] = (real)sum;
  }
}

/* dy, x (rows, C), slope (C) -> dx (rows, C) = dy where x > 0, else slope * dy; dslope (C) = sum of dy * x where x <= 0 */
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

/* x (rows, C) -> sums (C) */
fc_status FC(sum_rows)(int64_t rows, int64_t C, const void *x_, void *sums) {
  const real *x = x_;
  columns k = columns_of(rows, C);
  real *part = fc_alloc((size_t)(k.chunks * k.width) * sizeof(real));
  if (!part) return FC_NO_MEMORY;
#pragma omp parallel for num_threads(fc_threads_for(k.size)) schedule(static)
  for (int64_t i = 0; i < k.chunks; i++) {
    real *restrict sum = part + i * k.width;
    memset(sum, 0, (size_t)k.width * sizeof(real));
    int64_t end = min_i64(k.size, (i + 1) * k.chunk);
    for (int64_t first = i * k.chunk; first < end; first += k.width)
      for (int64_t j = 0; j < min_i64(k.width, end - first); j++) sum[j] += x[first + j];
  }
  add_chunks(&k, part, sums);
  fc_free(part);
  return FC_OK;
}
