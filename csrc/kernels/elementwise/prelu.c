/* Gradient of PReLU, whose slopes are learned. K. He et al. (ICCV 2015). */
#include "kernels/base/columns.h"

/* part (chunks, width) -> sums (C), in one order */
static void add_chunks(const columns *k, const real *part, real *sums) {
  for (int64_t c = 0; c < k->C; c++) {
    double sum = 0;
    for (int64_t i = 0; i < k->chunks; i++)
      for (int64_t j = c; j < k->width; j += k->C) sum += part[i * k->width + j];
    sums[c] = (real)sum;
  }
}

FC_INLINE vec gradient(vec dy, vec x, vec slope) { return blend(x > 0, dy, dy * slope); }

FC_INLINE vec gradients(vec dy, vec x, vec slope, vec *sum) {
  *sum += blend(x > 0, splat(0), dy * x);
  return gradient(dy, x, slope);
}

/* n values of a wide row */
static void scale_row(int64_t n, const real *slope, const real *dy, const real *x, real *dx) {
  FOR_VECTORS(n, vec d = gradient(load_n(dy + i, lanes), load_n(x + i, lanes), load_n(slope + i, lanes));
              store_n(dx + i, d, lanes));
}

/* Likewise; sum (n) += what dslope is the sum of */
static void backward_row(int64_t n, const real *slope, const real *dy, const real *x, real *dx, real *sum) {
  FOR_VECTORS(n, vec total = load_n(sum + i, lanes), d = load_n(dy + i, lanes), v = load_n(x + i, lanes);
              store_n(dx + i, gradients(d, v, load_n(slope + i, lanes), &total), lanes);
              store_n(sum + i, total, lanes));
}

/* dy, x (rows, C), slope (C) -> dx (rows, C) = dy where x > 0, else slope * dy; dslope (C), unless it is NULL: sum of
 * dy * x elsewhere */
fc_status FC(prelu_backward)(int64_t rows, int64_t C, const void *slope_, const void *dy_, const void *x_, void *dx_,
                             void *dslope) {
  const real *dy = dy_, *x = x_;
  real *dx = dx_;
  columns k = columns_of(rows, C, C);
  real *slope = fc_alloc((size_t)((1 + (dslope ? k.chunks : 0)) * k.width) * sizeof(real));
  if (!slope) return FC_NO_MEMORY;
  real *part = slope + k.width;
  widen(&k, slope_, slope);
#pragma omp parallel for num_threads(fc_threads_for(k.size)) schedule(static)
  for (int64_t i = 0; i < k.chunks; i++) {
    real *sum = part + i * k.width;
    if (dslope) memset(sum, 0, (size_t)k.width * sizeof(real));
    for (int64_t j = i * k.chunk; j < i * k.chunk + chunk_size(&k, i); j += k.width)
      if (dslope)
        backward_row(min_i64(k.width, k.size - j), slope, dy + j, x + j, dx + j, sum);
      else
        scale_row(min_i64(k.width, k.size - j), slope, dy + j, x + j, dx + j);
  }
  if (dslope) add_chunks(&k, part, dslope);
  fc_free(slope);
  return FC_OK;
}
