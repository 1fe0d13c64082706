/* Batch normalisation of x (rows, C) over its rows. Sums are made chunk by chunk (chunks depend on the shape alone) and
 * added up in double in one order, so the thread count changes no bit. */
#include "activation.h"
#include "columns.h"

enum { BLOCK = 4096 }; /* elements that are normalised before their activation, which finds them in L1 */

/* Per wide column of one chunk: some value near the mean, and the sums of (x - it) and (x - it)**2. */
static void chunk_moments(int64_t width, int64_t size, const real *x, real *restrict shift, real *restrict sum,
                          real *restrict squares) {
  int64_t rows = size / width, step = max_i64(1, rows / 16), sampled = 0;
  memset(shift, 0, (size_t)width * sizeof(real));
  for (int64_t r = 0; r < rows; r += step, sampled++)
    for (int64_t j = 0; j < width; j++) shift[j] += x[r * width + j];
  if (rows == 0) memcpy(shift, x, (size_t)size * sizeof(real));
  for (int64_t j = 0; rows && j < width; j++) shift[j] /= (real)sampled;

  memset(sum, 0, (size_t)width * sizeof(real));
  memset(squares, 0, (size_t)width * sizeof(real));
  for (; size >= 4 * width; size -= 4 * width, x += 4 * width)
    for (int64_t j = 0; j < width; j++) {
      real a = x[j] - shift[j], b = x[width + j] - shift[j];
      real c = x[2 * width + j] - shift[j], d = x[3 * width + j] - shift[j];
      sum[j] += (a + b) + (c + d);
      squares[j] += (a * a + b * b) + (c * c + d * d);
    }
  for (; size > 0; size -= width, x += width)
    for (int64_t j = 0; j < min_i64(width, size); j++) {
      real d = x[j] - shift[j];
      sum[j] += d;
      squares[j] += d * d;
    }
}

/* Mean and variance of channel c from the moments of all chunks: T. Chan, G. Golub, R. LeVeque (1983), eq. 2.1. */
static void combine_moments(const columns *k, const real *moments, int64_t c, real *mean, real *variance) {
  double rows = (double)(k->size / k->C), total = 0, squares = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int64_t i = 0; i < k->chunks; i++)
      for (int64_t j = c; j < k->width; j += k->C) {
        const real *m = moments + 3 * i * k->width + j;
        int64_t n = count_in_column(k, i, j);
        if (n == 0) continue;
        double shift = m[0], sum = m[k->width];
        if (pass == 0) {
          total += shift * (double)n + sum;
        } else {
          double away = shift + sum / (double)n - total / rows;
          squares += m[2 * k->width] - sum * sum / (double)n + away * away * (double)n;
        }
      }
  *mean = (real)(total / rows);
  *variance = squares < 0 ? 0 : (real)(squares / rows);
}

/* x (rows, C) -> mean, variance (C): biased; 0 and 0 for no rows */
fc_status FC(batch_norm_statistics)(int64_t rows, int64_t C, const void *x_, void *mean_, void *variance_) {
  const real *x = x_;
  real *mean = mean_, *variance = variance_;
  memset(mean, 0, (size_t)C * sizeof(real));
  memset(variance, 0, (size_t)C * sizeof(real));
  if (rows == 0) return FC_OK;
  columns k = columns_of(rows, C);
  real *moments = fc_alloc((size_t)(3 * k.chunks * k.width) * sizeof(real));
  if (!moments) return FC_NO_MEMORY;
  int threads = fc_threads_for(k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part, threads); i < share_start(&k, part + 1, threads); i++) {
      real *m = moments + 3 * i * k.width;
      chunk_moments(k.width, chunk_size(&k, i), x + i * k.chunk, m, m + k.width, m + 2 * k.width);
    }
#pragma omp parallel for num_threads(fc_threads_for(8 * k.chunks * k.width)) schedule(static)
  for (int64_t c = 0; c < C; c++) combine_moments(&k, moments, c, mean + c, variance + c);
  fc_free(moments);
  return FC_OK;
}

/* 1 / sqrt(variance + epsilon) (C) */
static void inverse_deviation(int64_t C, const real *variance, double epsilon, real *inverse) {
  for (int64_t c = 0; c < C; c++) inverse[c] = (real)(1 / sqrt((double)variance[c] + epsilon));
}

static void normalise(int64_t width, int64_t size, const real *x, const real *mean, const real *scale,
                      const real *shift, real *restrict y) {
  for (int64_t first = 0; first < size; first += width)
    for (int64_t j = 0; j < min_i64(width, size - first); j++)
      y[first + j] = (x[first + j] - mean[j]) * scale[j] + shift[j];
}

/* y (rows, C) = activation((x - mean) / sqrt(variance + epsilon) * gamma + beta); gamma, beta (C) or NULL */
fc_status FC(batch_norm_apply)(int64_t rows, int64_t C, const void *x_, const void *mean, const void *variance,
                               const void *gamma_, const void *beta, double epsilon, const fc_epilogue *e, void *y_) {
  const real *x = x_, *gamma = gamma_;
  real *y = y_;
  columns k = columns_of(rows, C);
  real *wide = fc_alloc((size_t)(3 * k.width + C) * sizeof(real));
  if (!wide) return FC_NO_MEMORY;
  real *wide_mean = wide, *scale = wide + k.width, *shift = wide + 2 * k.width, *channel = wide + 3 * k.width;
  inverse_deviation(C, variance, epsilon, channel);
  for (int64_t c = 0; gamma && c < C; c++) channel[c] *= gamma[c];
  widen(&k, mean, wide_mean);
  widen(&k, channel, scale);
  memset(channel, 0, (size_t)C * sizeof(real));
  widen(&k, beta ? beta : channel, shift);
  int64_t block = max_i64(1, BLOCK / k.width) * k.width;
  int threads = fc_threads_for(k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part + 1, threads) - 1; i >= share_start(&k, part, threads); i--)
      for (int64_t first = i * k.chunk; first < i * k.chunk + chunk_size(&k, i); first += block) {
        int64_t size = min_i64(block, i * k.chunk + chunk_size(&k, i) - first);
        normalise(k.width, size, x + first, wide_mean, scale, shift, y + first);
        FC(activate_rows)(e, size / C, C, C, y + first, y + first);
      }
  fc_free(wide);
  return FC_OK;
}

/* Per wide column of one chunk: the sums of dy and of dy * (x - mean). */
static void chunk_gradients(int64_t width, int64_t size, const real *dy, const real *x, const real *mean,
                            real *restrict sum, real *restrict product) {
  memset(sum, 0, (size_t)width * sizeof(real));
  memset(product, 0, (size_t)width * sizeof(real));
  for (; size >= 2 * width; size -= 2 * width, dy += 2 * width, x += 2 * width)
    for (int64_t j = 0; j < width; j++) {
      sum[j] += dy[j] + dy[width + j];
      product[j] += dy[j] * (x[j] - mean[j]) + dy[width + j] * (x[width + j] - mean[j]);
    }
  for (; size > 0; size -= width, dy += width, x += width)
    for (int64_t j = 0; j < min_i64(width, size); j++) {
      sum[j] += dy[j];
      product[j] += dy[j] * (x[j] - mean[j]);
    }
}

/* dx = (dy + offset) * scale + (x - mean) * slope */
static void chunk_dx(int64_t width, int64_t size, const real *dy, const real *x, const real *mean, const real *scale,
                     const real *offset, const real *slope, real *restrict dx) {
  for (int64_t first = 0; first < size; first += width)
    for (int64_t j = 0; j < min_i64(width, size - first); j++)
      dx[first + j] = (dy[first + j] + offset[j]) * scale[j] + (x[first + j] - mean[j]) * slope[j];
}

/* What chunk_dx wants, per channel and then wide; `sums` (chunks, 2, width) holds what chunk_gradients made. */
static void gradients_of_channels(const columns *k, int training, const real *sums, const real *gamma,
                                  const real *inverse, real *dgamma, real *dbeta, real *scale, real *offset,
                                  real *slope) {
  double rows = (double)(k->size / k->C);
  for (int64_t c = 0; c < k->C; c++) {
    double sum = 0, product = 0;
    for (int64_t i = 0; k->size && i < k->chunks; i++)
      for (int64_t j = c; j < k->width; j += k->C) {
        sum += sums[2 * i * k->width + j];
        product += sums[(2 * i + 1) * k->width + j];
      }
    dbeta[c] = (real)sum;
    dgamma[c] = (real)(product * inverse[c]);
    scale[c] = gamma ? inverse[c] * gamma[c] : inverse[c];
    offset[c] = training && k->size ? (real)(-sum / rows) : 0;
    slope[c] = training && k->size ? (real)(-product * inverse[c] * inverse[c] / rows) * scale[c] : 0;
  }
  for (int64_t j = k->C; j < k->width; j++)
    scale[j] = scale[j - k->C], offset[j] = offset[j - k->C], slope[j] = slope[j - k->C];
}

/* dy, x (rows, C) -> dx (rows, C), dgamma, dbeta (C). training: mean and variance (C) depend on x. */
fc_status FC(batch_norm_backward)(int64_t rows, int64_t C, int training, const void *dy_, const void *x_,
                                  const void *gamma, const void *mean_, const void *variance, double epsilon, void *dx_,
                                  void *dgamma, void *dbeta) {
  const real *dy = dy_, *x = x_;
  real *dx = dx_;
  columns k = columns_of(rows, C);
  real *wide = fc_alloc((size_t)((4 + 2 * k.chunks) * k.width + C) * sizeof(real));
  if (!wide) return FC_NO_MEMORY;
  real *mean = wide, *scale = mean + k.width, *offset = scale + k.width, *slope = offset + k.width;
  real *sums = slope + k.width, *inverse = sums + 2 * k.chunks * k.width;
  widen(&k, mean_, mean);
  inverse_deviation(C, variance, epsilon, inverse);
  int threads = fc_threads_for(k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part, threads); i < share_start(&k, part + 1, threads); i++)
      chunk_gradients(k.width, chunk_size(&k, i), dy + i * k.chunk, x + i * k.chunk, mean, sums + 2 * i * k.width,
                      sums + (2 * i + 1) * k.width);
  gradients_of_channels(&k, training, sums, gamma, inverse, dgamma, dbeta, scale, offset, slope);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part + 1, threads) - 1; i >= share_start(&k, part, threads); i--)
      chunk_dx(k.width, chunk_size(&k, i), dy + i * k.chunk, x + i * k.chunk, mean, scale, offset, slope,
               dx + i * k.chunk);
  fc_free(wide);
  return FC_OK;
}
