/* Batch normalisation of x (rows, C) over its rows, forward. Sums are made chunk by chunk (chunks depend on the shape
 * alone) and brought together in double in one order, so the thread count changes no bit. */
#include "batch_norm.h"

enum { BLOCK = 4096 }; /* elements that are normalised before an activation of rows, which finds them in L1 */

/* Moments of one lane, planes apart: some value near the mean, and the sums of (x - it) and (x - it)**2. */
FC_INLINE void strip_moments(int64_t rows, int64_t pitch, int nv, int64_t n, const real *x, real *m, int64_t plane) {
  vec near[STRIP] = {{0}}, sum[STRIP] = {{0}}, squares[STRIP] = {{0}};
  int64_t step = max_i64(16, rows / 16);
  for (int64_t r = 0; r < rows; r += step)
    for (int v = 0; v < nv; v++) near[v] += load_n(x + r * pitch + v * VL, n);
  for (int v = 0; v < nv; v++) near[v] /= (real)ceil_div(rows, step);
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < nv; v++) {
      vec d = load_n(x + r * pitch + v * VL, n) - near[v];
      sum[v] += d;
      squares[v] += d * d;
    }
  for (int v = 0; v < nv; v++) {
    store_n(m + v * VL, near[v], n);
    store_n(m + plane + v * VL, sum[v], n);
    store_n(m + 2 * plane + v * VL, squares[v], n);
  }
}

/* rows >= 1 of width values */
static void moments(int64_t rows, int64_t width, int64_t pitch, const real *x, real *m, int64_t plane) {
  int64_t j = 0;
  for (; j + STRIP * VL <= width; j += STRIP * VL) strip_moments(rows, pitch, STRIP, VL, x + j, m + j, plane);
  if (j + STRIP / 2 * VL <= width) {
    strip_moments(rows, pitch, STRIP / 2, VL, x + j, m + j, plane);
    j += STRIP / 2 * VL;
  }
  for (; j < width; j += VL) strip_moments(rows, pitch, 1, min_i64(VL, width - j), x + j, m + j, plane);
}

/* A chunk of wide rows, the last of which may be short. */
static void chunk_moments(int64_t width, int64_t pitch, int64_t size, const real *x, real *m) {
  int64_t rows = size / width;
  if (rows > 0) moments(rows, width, pitch, x, m, width);
  if (rows == 0) {
    memset(m, 0, (size_t)(3 * width) * sizeof(real));
    memcpy(m, x, (size_t)size * sizeof(real));
  }
  for (int64_t j = 0; rows > 0 && j < size % width; j++) {
    real d = x[rows * pitch + j] - m[j];
    m[width + j] += d;
    m[2 * width + j] += d * d;
  }
}

/* Takes the moments of n more values into the mean and the sum of squared deviations of `count`: T. Chan, G. Golub,
 * R. LeVeque (1983), eq. 2.1. */
static void merge(int64_t lanes, int64_t count, int64_t n, const real *m, int64_t plane, double *restrict mean,
                  double *restrict squares) {
  if (n == 0) return;
  double inverse = 1 / (double)n, share = (double)n / (double)(count + n), weight = (double)count * share;
  for (int64_t j = 0; j < lanes; j++) {
    double sum = m[plane + j], away = m[j] + sum * inverse - mean[j];
    squares[j] += m[2 * plane + j] - sum * sum * inverse + away * away * weight;
    mean[j] += away * share;
  }
}

static void store_statistics(int64_t lanes, int64_t rows, const double *mean_, const double *squares, real *mean,
                             real *variance) {
  for (int64_t j = 0; j < lanes; j++) {
    mean[j] = (real)mean_[j];
    double nothing = mean_[j] - mean_[j]; /* NaN for an infinite mean */
    variance[j] = squares[j] < 0 ? 0 : (real)(squares[j] / (double)rows + nothing);
  }
}

/* Channels c ... c + lanes from the moments of all chunks. */
static void combine(const columns *k, const real *m, int64_t c, int64_t lanes, real *mean, real *variance) {
  double means[SHARE] = {0}, squares[SHARE] = {0};
  int64_t count = 0;
  for (int64_t i = 0; i < k->chunks; i++)
    for (int64_t j = c; j < k->width; j += k->C) {
      int64_t n = count_in_column(k, i, j);
      merge(lanes, count, n, m + 3 * i * k->width + j, k->width, means, squares);
      count += n;
    }
  store_statistics(lanes, count, means, squares, mean + c, variance + c);
}

static fc_status statistics(int64_t rows, int64_t C, int64_t x_pitch, const real *x, real *mean, real *variance) {
  columns k = columns_of(rows, C, x_pitch);
  int64_t pitch = x_pitch == C ? k.width : x_pitch; /* of wide rows */
  real *m = fc_alloc((size_t)(3 * k.chunks * k.width) * sizeof(real));
  if (!m) return FC_NO_MEMORY;
  int threads = fc_threads_for(k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part, threads); i < share_start(&k, part + 1, threads); i++)
      chunk_moments(k.width, pitch, chunk_size(&k, i), x + chunk_start(&k, i, pitch), m + 3 * i * k.width);
#pragma omp parallel for num_threads(fc_threads_for(4 * k.chunks * k.width)) schedule(static)
  for (int64_t c = 0; c < C; c += SHARE) combine(&k, m, c, min_i64(SHARE, C - c), mean, variance);
  fc_free(m);
  return FC_OK;
}

FC_INLINE void strip_apply(fc_activation_kind kind, vec parameter, int64_t rows, int64_t x_pitch, int64_t y_pitch,
                           int nv, int64_t n, const real *x, const real *numbers, int64_t plane, int past, real *y) {
  vec mean[STRIP], scale[STRIP], shift[STRIP];
  load_strip(numbers + MEAN * plane, nv, n, mean);
  load_strip(numbers + SCALE * plane, nv, n, scale);
  load_strip(numbers + SHIFT * plane, nv, n, shift);
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < nv; v++) {
      vec z = normalised(load_n(x + r * x_pitch + v * VL, n), mean[v], scale[v], shift[v]);
      put(y + r * y_pitch + v * VL, rectify(kind, z, parameter), n, past);
    }
}

FC_INLINE void apply_as(fc_activation_kind kind, real parameter, int64_t rows, int64_t width, int64_t pitch,
                        const real *x, const real *numbers, int64_t plane, int past, real *y) {
  vec p = splat(parameter);
  int64_t j = 0;
  for (; j + STRIP * VL <= width; j += STRIP * VL)
    strip_apply(kind, p, rows, pitch, width, STRIP, VL, x + j, numbers + j, plane, past, y + j);
  if (j + STRIP / 2 * VL <= width) {
    strip_apply(kind, p, rows, pitch, width, STRIP / 2, VL, x + j, numbers + j, plane, past, y + j);
    j += STRIP / 2 * VL;
  }
  for (; j < width; j += VL)
    strip_apply(kind, p, rows, pitch, width, 1, min_i64(VL, width - j), x + j, numbers + j, plane, past, y + j);
}

/* y = activation(...) for a rectifier's kind, else the values before it */
static void apply(const fc_epilogue *e, int64_t rows, int64_t width, int64_t pitch, const real *x, const real *numbers,
                  int64_t plane, int past, real *y) {
  real parameter = (real)e->parameter;
  switch (e->kind) {
    case FC_RELU:
      apply_as(FC_RELU, parameter, rows, width, pitch, x, numbers, plane, past, y);
      break;
    case FC_RELU6:
      apply_as(FC_RELU6, parameter, rows, width, pitch, x, numbers, plane, past, y);
      break;
    case FC_LEAKY_RELU:
      apply_as(FC_LEAKY_RELU, parameter, rows, width, pitch, x, numbers, plane, past, y);
      break;
    default:
      apply_as(FC_LINEAR, parameter, rows, width, pitch, x, numbers, plane, past, y);
  }
}

/* y (rows, C) = activation((x - mean) / sqrt(variance + epsilon) * gamma + beta); gamma, beta (C) or NULL */
fc_status FC(batch_norm_apply)(int64_t rows, int64_t C, int64_t x_pitch, const void *x_, const void *mean,
                               const void *variance, const void *gamma, const void *beta, double epsilon,
                               const fc_epilogue *e, void *y_) {
  const real *x = x_;
  real *y = y_;
  columns k = columns_of(rows, C, x_pitch);
  int64_t pitch = x_pitch == C ? k.width : x_pitch; /* of wide rows */
  real *numbers = fc_alloc((size_t)(3 * k.width) * sizeof(real));
  if (!numbers) return FC_NO_MEMORY;
  affine(C, mean, variance, gamma, beta, epsilon, numbers, k.width);
  for (int which = MEAN; which <= SHIFT; which++) repeat_columns(&k, numbers + which * k.width);
  int64_t block = max_i64(1, BLOCK / k.width) * k.width;
  int threads = fc_threads_for(k.size), past = rectifies(e->kind) && k.width % VL == 0 && goes_past(y, k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++) {
    for (int64_t i = share_start(&k, part + 1, threads) - 1; i >= share_start(&k, part, threads); i--)
      for (int64_t first = i * k.chunk; first < i * k.chunk + chunk_size(&k, i); first += block) {
        int64_t size = min_i64(block, i * k.chunk + chunk_size(&k, i) - first), whole = size / k.width * k.width;
        const real *from = x + first / k.width * pitch;
        apply(e, size / k.width, k.width, pitch, from, numbers, k.width, past, y + first);
        apply(e, 1, size - whole, pitch, from + whole / k.width * pitch, numbers, k.width, past, y + first + whole);
        if (!rectifies(e->kind)) FC(activate_rows)(e, size / C, C, C, y + first, y + first);
      }
    stream_fence();
  }
  fc_free(numbers);
  return FC_OK;
}

/* The same by the batch's own statistics: mean, variance (C): biased; 0 and 0 for no rows */
fc_status FC(batch_norm)(int64_t rows, int64_t C, int64_t x_pitch, const void *x, const void *gamma, const void *beta,
                         double epsilon, const fc_epilogue *e, void *mean_, void *variance_, void *y) {
  real *mean = mean_, *variance = variance_;
  if (rows == 0) {
    memset(mean, 0, (size_t)C * sizeof(real));
    memset(variance, 0, (size_t)C * sizeof(real));
    return FC_OK;
  }
  fc_status status = statistics(rows, C, x_pitch, x, mean, variance);
  return status == FC_OK ? FC(batch_norm_apply)(rows, C, x_pitch, x, mean, variance, gamma, beta, epsilon, e, y)
                         : status;
}
