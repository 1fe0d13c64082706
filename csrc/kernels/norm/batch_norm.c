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
  FOR_STRIPS(width, strip_moments(rows, pitch, nv, n, x + j, m + j, plane));
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

static fc_status statistics(const fc_batch_norm *b, real *mean, real *variance) {
  const real *x = b->x;
  columns k = columns_of(b->rows, b->C, b->x_pitch);
  int64_t pitch = wide_pitch(b, &k);
  real *m = fc_alloc((size_t)(3 * k.chunks * k.width) * sizeof(real));
  if (!m) return FC_NO_MEMORY;
  int threads = fc_threads_for(k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part, threads); i < share_start(&k, part + 1, threads); i++)
      chunk_moments(k.width, pitch, chunk_size(&k, i), x + chunk_start(&k, i, pitch), m + 3 * i * k.width);
#pragma omp parallel for num_threads(fc_threads_for(4 * k.chunks * k.width)) schedule(static)
  for (int64_t c = 0; c < k.C; c += SHARE) combine(&k, m, c, min_i64(SHARE, k.C - c), mean, variance);
  fc_free(m);
  return FC_OK;
}

FC_INLINE void strip_apply(fc_activation_kind kind, const wide_rows *w, int64_t j, const int nv, const int64_t n) {
  const vec parameter = splat(w->parameter);
  vec mean[STRIP], scale[STRIP], shift[STRIP];
  load_strip(w->numbers + MEAN * w->width + j, nv, n, mean);
  load_strip(w->numbers + SCALE * w->width + j, nv, n, scale);
  load_strip(w->numbers + SHIFT * w->width + j, nv, n, shift);
  const real *x = w->x + j;
  real *y = w->to + j;
  const int64_t rows = w->rows, width = w->width, x_pitch = w->x_pitch;
  const int past = w->past;
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < nv; v++) {
      vec z = normalised(load_n(x + r * x_pitch + v * VL, n), mean[v], scale[v], shift[v]);
      put(y + r * width + v * VL, rectify(kind, z, parameter), n, past);
    }
}

/* y = activation(...) for a rectifier's kind, else the values before it */
static void apply(fc_activation_kind of,
                  const wide_rows *w){FOR_RECTIFIER(of, FOR_STRIPS(w -> cols, strip_apply(kind, w, j, nv, n)))}

/* x (rows, C) -> y (rows, C) */
fc_status FC(batch_norm_apply)(const fc_batch_norm *b, const void *mean, const void *variance, void *y_) {
  const real *x = b->x;
  real *y = y_;
  const fc_epilogue *e = &b->e;
  columns k = columns_of(b->rows, b->C, b->x_pitch);
  int64_t pitch = wide_pitch(b, &k);
  real *numbers = fc_alloc((size_t)(3 * k.width) * sizeof(real));
  if (!numbers) return FC_NO_MEMORY;
  affine(b, mean, variance, numbers, k.width);
  for (int which = MEAN; which <= SHIFT; which++) repeat_columns(&k, numbers + which * k.width);
  int64_t block = max_i64(1, BLOCK / k.width) * k.width;
  int threads = fc_threads_for(k.size), past = rectifies(e->kind) && k.width % VL == 0 && goes_past(y, k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++) {
    for (int64_t i = share_start(&k, part + 1, threads) - 1; i >= share_start(&k, part, threads); i--)
      for (int64_t first = i * k.chunk; first < i * k.chunk + chunk_size(&k, i); first += block) {
        int64_t size = min_i64(block, i * k.chunk + chunk_size(&k, i) - first), whole = size / k.width;
        wide_rows w = {.rows = whole, .cols = k.width, .width = k.width, .x_pitch = pitch, .numbers = numbers};
        w.x = x + first / k.width * pitch, w.to = y + first, w.past = past, w.parameter = (real)e->parameter;
        apply(e->kind, &w);
        w.rows = 1, w.cols = size % k.width, w.x += whole * pitch, w.to += whole * k.width; /* the last may be short */
        apply(e->kind, &w);
        if (!rectifies(e->kind)) FC(activate_rows)(e, size / k.C, k.C, k.C, y + first, y + first);
      }
    stream_fence();
  }
  fc_free(numbers);
  return FC_OK;
}

/* The same by the batch's own statistics: mean, variance (C): biased; 0 and 0 for no rows */
fc_status FC(batch_norm)(const fc_batch_norm *b, void *mean, void *variance, void *y) {
  if (b->rows == 0) {
    memset(mean, 0, (size_t)b->C * sizeof(real));
    memset(variance, 0, (size_t)b->C * sizeof(real));
    return FC_OK;
  }
  fc_status status = statistics(b, mean, variance);
  return status == FC_OK ? FC(batch_norm_apply)(b, mean, variance, y) : status;
}
