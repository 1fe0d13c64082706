/* The gradient of batch normalisation and of the rectifier after it, if there is one: dz is dy where the activation
 * lets it through, which the sign of z = (x - mean) * scale + shift tells; z is computed again, so nothing is kept of
 * it. dx = scale * (dz - mean(dz) - x_hat * mean(dz * x_hat)), dgamma = sum(dz * x_hat), dbeta = sum(dz). */
#include "batch_norm.h"

/* Further numbers of a channel: dx = (dz + offset) * scale + (x - mean) * slope */
enum { OFFSET = SHIFT + 1, SLOPE, NUMBERS };

FC_INLINE vec through(fc_activation_kind kind, vec parameter, vec dy, vec x, vec mean, vec scale, vec shift) {
  if (kind == FC_LINEAR) return dy;
  return rectify_gradient(kind, dy, rectify(kind, normalised(x, mean, scale, shift), parameter), parameter);
}

/* sums (2, width) += dz and dz * (x - mean) of the rows */
FC_INLINE void strip_sums(fc_activation_kind kind, const wide_rows *w, int64_t j, const int nv, const int64_t n) {
  const vec parameter = splat(w->parameter);
  const int64_t width = w->width, x_pitch = w->x_pitch, rows = w->rows;
  const real *dy = w->dy + j, *x = w->x + j, *numbers = w->numbers + j;
  real *sums = w->to + j;
  vec mean[STRIP], scale[STRIP], shift[STRIP], sum[STRIP], product[STRIP];
  load_strip(sums, nv, n, sum);
  load_strip(sums + width, nv, n, product);
  load_strip(numbers + MEAN * width, nv, n, mean);
  load_strip(numbers + SCALE * width, nv, n, scale);
  load_strip(numbers + SHIFT * width, nv, n, shift);
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < nv; v++) {
      vec in = load_n(x + r * x_pitch + v * VL, n);
      vec dz = through(kind, parameter, load_n(dy + r * width + v * VL, n), in, mean[v], scale[v], shift[v]);
      sum[v] += dz;
      product[v] += dz * (in - mean[v]);
    }
  for (int v = 0; v < nv; v++) {
    store_n(sums + v * VL, sum[v], n);
    store_n(sums + width + v * VL, product[v], n);
  }
}

FC_INLINE void strip_dx(fc_activation_kind kind, const wide_rows *w, int64_t j, const int nv, const int64_t n) {
  const vec parameter = splat(w->parameter);
  const int64_t width = w->width, x_pitch = w->x_pitch, rows = w->rows;
  const int past = w->past;
  const real *dy = w->dy + j, *x = w->x + j, *numbers = w->numbers + j;
  real *dx = w->to + j;
  vec mean[STRIP], scale[STRIP], shift[STRIP], offset[STRIP], slope[STRIP];
  load_strip(numbers + MEAN * width, nv, n, mean);
  load_strip(numbers + SCALE * width, nv, n, scale);
  load_strip(numbers + SHIFT * width, nv, n, shift);
  load_strip(numbers + OFFSET * width, nv, n, offset);
  load_strip(numbers + SLOPE * width, nv, n, slope);
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < nv; v++) {
      vec in = load_n(x + r * x_pitch + v * VL, n);
      vec dz = through(kind, parameter, load_n(dy + r * width + v * VL, n), in, mean[v], scale[v], shift[v]);
      put(dx + r * width + v * VL, (dz + offset[v]) * scale[v] + (in - mean[v]) * slope[v], n, past);
    }
}

/* Where mean and variance are constants: dx = dz * scale, and x is read for the activation alone. */
FC_INLINE void strip_scale(fc_activation_kind kind, const wide_rows *w, int64_t j, const int nv, const int64_t n) {
  const vec parameter = splat(w->parameter);
  const int64_t width = w->width, x_pitch = w->x_pitch, rows = w->rows;
  const int past = w->past;
  for (int v = 0; v < nv; v++, j += VL) {
    const real *dy = w->dy + j, *x = w->x + j, *numbers = w->numbers + j;
    real *dx = w->to + j;
    vec mean = load_n(numbers + MEAN * width, n), scale = load_n(numbers + SCALE * width, n);
    vec shift = load_n(numbers + SHIFT * width, n);
    for (int64_t r = 0; r < rows; r++) {
      vec in = kind == FC_LINEAR ? (vec){0} : load_n(x + r * x_pitch, n);
      vec dz = through(kind, parameter, load_n(dy + r * width, n), in, mean, scale, shift);
      put(dx + r * width, dz * scale, n, past);
    }
  }
}

static FC_NOINLINE void make_sums(fc_activation_kind of, const wide_rows *w) {
  FOR_RECTIFIER(of, FOR_STRIPS(w->cols, strip_sums(kind, w, j, nv, n)))
}

static FC_NOINLINE void make_dx(fc_activation_kind of, const wide_rows *w) {
  FOR_RECTIFIER(of, FOR_STRIPS(w->cols, strip_dx(kind, w, j, nv, n)))
}

static FC_NOINLINE void scale_dy(fc_activation_kind of, const wide_rows *w) {
  FOR_RECTIFIER(of, FOR_STRIPS(w->cols, strip_scale(kind, w, j, nv, n)))
}

/* Everything that a call is about. */
typedef struct {
  const fc_batch_norm *b;
  int training; /* mean and variance depend on x */
  const real *dy, *mean, *variance;
  real *dx, *dgamma, *dbeta; /* the last two may be NULL */
} job;

/* Sums of `lanes` channels from c on become their gradients, and the numbers that dx wants. */
static void use_sums(const job *t, int64_t c, int64_t lanes, const double *sums, const double *products, real *numbers,
                     int64_t plane) {
  double rows = (double)max_i64(t->b->rows, 1);
  for (int64_t j = 0; j < lanes; j++) {
    double inverse = 1 / sqrt((double)t->variance[c + j] + t->b->epsilon);
    if (t->dbeta) t->dbeta[c + j] = (real)sums[j];
    if (t->dgamma) t->dgamma[c + j] = (real)(products[j] * inverse);
    numbers[OFFSET * plane + j] = (real)(-sums[j] / rows);
    numbers[SLOPE * plane + j] = (real)(-products[j] * inverse * inverse / rows) * numbers[SCALE * plane + j];
  }
}

/* The whole rows of a chunk. */
static wide_rows rows_of_chunk(const job *t, const columns *k, int64_t i, const real *numbers) {
  int64_t pitch = wide_pitch(t->b, k);
  wide_rows w = {.rows = chunk_size(k, i) / k->width, .cols = k->width, .width = k->width, .x_pitch = pitch};
  w.dy = t->dy + i * k->chunk, w.x = (const real *)t->b->x + chunk_start(k, i, pitch), w.numbers = numbers;
  w.parameter = (real)t->b->e.parameter;
  return w;
}

/* What comes after them: one row, which is short. */
static void go_to_rest(wide_rows *w, int64_t size) {
  w->dy += w->rows * w->width, w->x += w->rows * w->x_pitch;
  w->cols = size % w->width, w->rows = 1;
}

static void chunk_sums(const job *t, const columns *k, int64_t i, const real *numbers, real *sums) {
  wide_rows w = rows_of_chunk(t, k, i, numbers);
  memset(sums, 0, (size_t)(2 * k->width) * sizeof(real));
  w.to = sums;
  make_sums(t->b->e.kind, &w);
  go_to_rest(&w, chunk_size(k, i));
  make_sums(t->b->e.kind, &w);
}

static void chunk_dx(const job *t, const columns *k, int64_t i, const real *numbers) {
  wide_rows w = rows_of_chunk(t, k, i, numbers);
  w.past = k->width % VL == 0 && goes_past(t->dx, k->size);
  w.to = t->dx + i * k->chunk;
  (t->training ? make_dx : scale_dy)(t->b->e.kind, &w);
  w.to += w.rows * w.width;
  go_to_rest(&w, chunk_size(k, i));
  (t->training ? make_dx : scale_dy)(t->b->e.kind, &w);
}

/* Chunks of whole rows: first all sums, then dx, backwards. */
static fc_status by_rows(const job *t) {
  columns k = columns_of(t->b->rows, t->b->C, t->b->x_pitch);
  int wanted = t->training || t->dgamma || t->dbeta;
  real *numbers = fc_alloc((size_t)((NUMBERS + (wanted ? 2 * k.chunks : 0)) * k.width) * sizeof(real));
  if (!numbers) return FC_NO_MEMORY;
  real *sums = numbers + NUMBERS * k.width;
  affine(t->b, t->mean, t->variance, numbers, k.width);
  for (int which = MEAN; which <= SHIFT; which++) repeat_columns(&k, numbers + which * k.width);
  int threads = fc_threads_for(k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part, threads); wanted && i < share_start(&k, part + 1, threads); i++)
      chunk_sums(t, &k, i, numbers, sums + 2 * i * k.width);
#pragma omp parallel for num_threads(fc_threads_for(2 * k.chunks * k.width)) schedule(static)
  for (int64_t c = 0; c < k.C; c += SHARE) {
    double sum[SHARE] = {0}, product[SHARE] = {0};
    int64_t lanes = min_i64(SHARE, k.C - c);
    for (int64_t i = 0; wanted && i < k.chunks; i++)
      for (int64_t j = c; j < k.width; j += k.C) {
        const real *part = sums + 2 * i * k.width + j;
        for (int64_t l = 0; l < lanes; l++) sum[l] += part[l], product[l] += part[k.width + l];
      }
    use_sums(t, c, lanes, sum, product, numbers + c, k.width);
  }
  for (int which = OFFSET; which <= SLOPE; which++) repeat_columns(&k, numbers + which * k.width);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++) {
    for (int64_t i = share_start(&k, part + 1, threads) - 1; i >= share_start(&k, part, threads); i--)
      chunk_dx(t, &k, i, numbers);
    stream_fence();
  }
  fc_free(numbers);
  return FC_OK;
}

/* dy, x (rows, C) -> dx (rows, C), dgamma, dbeta (C) or NULL; the activation is FC_LINEAR or a rectifier. training:
 * mean and variance (C) depend on x. */
fc_status FC(batch_norm_backward)(const fc_batch_norm *b, int training, const void *dy, const void *mean,
                                  const void *variance, void *dx, void *dgamma, void *dbeta) {
  job t = {b, training, dy, mean, variance, dx, dgamma, dbeta};
  if (b->rows == 0) {
    if (dgamma) memset(dgamma, 0, (size_t)b->C * sizeof(real));
    if (dbeta) memset(dbeta, 0, (size_t)b->C * sizeof(real));
    return FC_OK;
  }
  return by_rows(&t);
}
