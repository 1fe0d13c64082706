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

/* sums (2, plane) += dz and dz * (x - mean) of the rows */
FC_INLINE void strip_sums(fc_activation_kind kind, vec parameter, int64_t rows, int64_t pitch, int64_t x_pitch, int nv,
                          int64_t n, const real *dy, const real *x, const real *numbers, int64_t plane, real *sums) {
  vec mean[STRIP], scale[STRIP], shift[STRIP], sum[STRIP], product[STRIP];
  load_strip(sums, nv, n, sum);
  load_strip(sums + plane, nv, n, product);
  load_strip(numbers + MEAN * plane, nv, n, mean);
  load_strip(numbers + SCALE * plane, nv, n, scale);
  load_strip(numbers + SHIFT * plane, nv, n, shift);
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < nv; v++) {
      vec in = load_n(x + r * x_pitch + v * VL, n);
      vec dz = through(kind, parameter, load_n(dy + r * pitch + v * VL, n), in, mean[v], scale[v], shift[v]);
      sum[v] += dz;
      product[v] += dz * (in - mean[v]);
    }
  for (int v = 0; v < nv; v++) {
    store_n(sums + v * VL, sum[v], n);
    store_n(sums + plane + v * VL, product[v], n);
  }
}

FC_INLINE void strip_dx(fc_activation_kind kind, vec parameter, int64_t rows, int64_t pitch, int64_t x_pitch, int nv,
                        int64_t n, const real *dy, const real *x, const real *numbers, int64_t plane, int past,
                        real *dx) {
  vec mean[STRIP], scale[STRIP], shift[STRIP], offset[STRIP], slope[STRIP];
  load_strip(numbers + MEAN * plane, nv, n, mean);
  load_strip(numbers + SCALE * plane, nv, n, scale);
  load_strip(numbers + SHIFT * plane, nv, n, shift);
  load_strip(numbers + OFFSET * plane, nv, n, offset);
  load_strip(numbers + SLOPE * plane, nv, n, slope);
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < nv; v++) {
      vec in = load_n(x + r * x_pitch + v * VL, n);
      vec dz = through(kind, parameter, load_n(dy + r * pitch + v * VL, n), in, mean[v], scale[v], shift[v]);
      put(dx + r * pitch + v * VL, (dz + offset[v]) * scale[v] + (in - mean[v]) * slope[v], n, past);
    }
}

/* Where mean and variance are constants: dx = dz * scale, and x is read for the activation alone. */
FC_INLINE void strip_scale(fc_activation_kind kind, vec parameter, int64_t rows, int64_t pitch, int64_t x_pitch, int nv,
                           int64_t n, const real *dy, const real *x, const real *numbers, int64_t plane, int past,
                           real *dx) {
  for (int v = 0; v < nv; v++) {
    vec mean = load_n(numbers + MEAN * plane + v * VL, n), scale = load_n(numbers + SCALE * plane + v * VL, n);
    vec shift = load_n(numbers + SHIFT * plane + v * VL, n);
    for (int64_t r = 0; r < rows; r++) {
      vec in = kind == FC_LINEAR ? (vec){0} : load_n(x + r * x_pitch + v * VL, n);
      vec dz = through(kind, parameter, load_n(dy + r * pitch + v * VL, n), in, mean, scale, shift);
      put(dx + r * pitch + v * VL, dz * scale, n, past);
    }
  }
}

typedef enum { SUMS, DX, SCALED } pass;

FC_INLINE void strip(pass which, fc_activation_kind kind, vec parameter, int64_t rows, int64_t pitch, int64_t x_pitch,
                     int nv, int64_t n, const real *dy, const real *x, const real *numbers, int64_t plane, int past,
                     real *to) {
  if (which == SUMS)
    strip_sums(kind, parameter, rows, pitch, x_pitch, nv, n, dy, x, numbers, plane, to);
  else if (which == DX)
    strip_dx(kind, parameter, rows, pitch, x_pitch, nv, n, dy, x, numbers, plane, past, to);
  else
    strip_scale(kind, parameter, rows, pitch, x_pitch, nv, n, dy, x, numbers, plane, past, to);
}

FC_INLINE void run_as(pass which, fc_activation_kind kind, real parameter, int64_t rows, int64_t width, int64_t pitch,
                      int64_t x_pitch, const real *dy, const real *x, const real *numbers, int64_t plane, int past,
                      real *to) {
  vec p = splat(parameter);
  int64_t j = 0;
  for (; j + STRIP * VL <= width; j += STRIP * VL)
    strip(which, kind, p, rows, pitch, x_pitch, STRIP, VL, dy + j, x + j, numbers + j, plane, past, to + j);
  if (j + STRIP / 2 * VL <= width) {
    strip(which, kind, p, rows, pitch, x_pitch, STRIP / 2, VL, dy + j, x + j, numbers + j, plane, past, to + j);
    j += STRIP / 2 * VL;
  }
  for (; j < width; j += VL)
    strip(which, kind, p, rows, pitch, x_pitch, 1, min_i64(VL, width - j), dy + j, x + j, numbers + j, plane, past,
          to + j);
}

FC_INLINE void run(pass which, const fc_epilogue *e, int64_t rows, int64_t width, int64_t pitch, int64_t x_pitch,
                   const real *dy, const real *x, const real *numbers, int64_t plane, int past, real *to) {
  real parameter = (real)e->parameter;
  switch (e->kind) {
    case FC_RELU:
      run_as(which, FC_RELU, parameter, rows, width, pitch, x_pitch, dy, x, numbers, plane, past, to);
      break;
    case FC_RELU6:
      run_as(which, FC_RELU6, parameter, rows, width, pitch, x_pitch, dy, x, numbers, plane, past, to);
      break;
    case FC_LEAKY_RELU:
      run_as(which, FC_LEAKY_RELU, parameter, rows, width, pitch, x_pitch, dy, x, numbers, plane, past, to);
      break;
    default:
      run_as(which, FC_LINEAR, parameter, rows, width, pitch, x_pitch, dy, x, numbers, plane, past, to);
  }
}

static FC_NOINLINE void make_sums(const fc_epilogue *e, int64_t rows, int64_t width, int64_t pitch, int64_t x_pitch,
                                  const real *dy, const real *x, const real *numbers, int64_t plane, real *sums) {
  run(SUMS, e, rows, width, pitch, x_pitch, dy, x, numbers, plane, 0, sums);
}

static FC_NOINLINE void make_dx(int training, const fc_epilogue *e, int64_t rows, int64_t width, int64_t pitch,
                                int64_t x_pitch, const real *dy, const real *x, const real *numbers, int64_t plane,
                                int past, real *dx) {
  if (training)
    run(DX, e, rows, width, pitch, x_pitch, dy, x, numbers, plane, past, dx);
  else
    run(SCALED, e, rows, width, pitch, x_pitch, dy, x, numbers, plane, past, dx);
}

/* Everything that a call is about. */
typedef struct {
  int64_t rows, C, x_pitch;
  int training; /* mean and variance depend on x */
  const fc_epilogue *e;
  const real *dy, *x, *mean, *variance, *gamma, *beta;
  double epsilon;
  real *dx, *dgamma, *dbeta; /* the last two may be NULL */
} task;

/* Sums of `lanes` channels from c on become their gradients, and the numbers that dx wants. */
static void finish(const task *t, int64_t c, int64_t lanes, const double *sums, const double *products, real *numbers,
                   int64_t plane) {
  double rows = (double)max_i64(t->rows, 1);
  for (int64_t j = 0; j < lanes; j++) {
    double inverse = 1 / sqrt((double)t->variance[c + j] + t->epsilon);
    if (t->dbeta) t->dbeta[c + j] = (real)sums[j];
    if (t->dgamma) t->dgamma[c + j] = (real)(products[j] * inverse);
    numbers[OFFSET * plane + j] = (real)(-sums[j] / rows);
    numbers[SLOPE * plane + j] = (real)(-products[j] * inverse * inverse / rows) * numbers[SCALE * plane + j];
  }
}

/* Elements from one wide row of x to the next. */
static int64_t pitch_of(const task *t, const columns *k) { return t->x_pitch == t->C ? k->width : t->x_pitch; }

/* A chunk of wide rows, the last of which may be short. */
static void chunk_sums(const task *t, const columns *k, int64_t i, const real *numbers, real *sums) {
  int64_t at = i * k->chunk, rows = chunk_size(k, i) / k->width, rest = chunk_size(k, i) % k->width;
  int64_t pitch = pitch_of(t, k);
  const real *x = t->x + chunk_start(k, i, pitch);
  memset(sums, 0, (size_t)(2 * k->width) * sizeof(real));
  make_sums(t->e, rows, k->width, k->width, pitch, t->dy + at, x, numbers, k->width, sums);
  at += rows * k->width;
  make_sums(t->e, 1, rest, k->width, pitch, t->dy + at, x + rows * pitch, numbers, k->width, sums);
}

static void chunk_dx(const task *t, const columns *k, int64_t i, const real *numbers) {
  int64_t at = i * k->chunk, rows = chunk_size(k, i) / k->width, rest = chunk_size(k, i) % k->width;
  int64_t pitch = pitch_of(t, k);
  const real *x = t->x + chunk_start(k, i, pitch);
  int past = k->width % VL == 0 && goes_past(t->dx, k->size);
  make_dx(t->training, t->e, rows, k->width, k->width, pitch, t->dy + at, x, numbers, k->width, past, t->dx + at);
  at += rows * k->width;
  make_dx(t->training, t->e, 1, rest, k->width, pitch, t->dy + at, x + rows * pitch, numbers, k->width, past,
          t->dx + at);
}

/* Chunks of whole rows: first all sums, then dx, backwards. */
static fc_status by_rows(const task *t) {
  columns k = columns_of(t->rows, t->C, t->x_pitch);
  int wanted = t->training || t->dgamma || t->dbeta;
  real *numbers = fc_alloc((size_t)((NUMBERS + (wanted ? 2 * k.chunks : 0)) * k.width) * sizeof(real));
  if (!numbers) return FC_NO_MEMORY;
  real *sums = numbers + NUMBERS * k.width;
  affine(t->C, t->mean, t->variance, t->gamma, t->beta, t->epsilon, numbers, k.width);
  for (int which = MEAN; which <= SHIFT; which++) repeat_columns(&k, numbers + which * k.width);
  int threads = fc_threads_for(k.size);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; part++)
    for (int64_t i = share_start(&k, part, threads); wanted && i < share_start(&k, part + 1, threads); i++)
      chunk_sums(t, &k, i, numbers, sums + 2 * i * k.width);
#pragma omp parallel for num_threads(fc_threads_for(2 * k.chunks * k.width)) schedule(static)
  for (int64_t c = 0; c < t->C; c += SHARE) {
    double sum[SHARE] = {0}, product[SHARE] = {0};
    int64_t lanes = min_i64(SHARE, t->C - c);
    for (int64_t i = 0; wanted && i < k.chunks; i++)
      for (int64_t j = c; j < k.width; j += k.C) {
        const real *part = sums + 2 * i * k.width + j;
        for (int64_t l = 0; l < lanes; l++) sum[l] += part[l], product[l] += part[k.width + l];
      }
    finish(t, c, lanes, sum, product, numbers + c, k.width);
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

/* dy, x (rows, C) -> dx (rows, C), dgamma, dbeta (C) or NULL; e: FC_LINEAR or a rectifier. training: mean and variance
 * (C) depend on x. */
fc_status FC(batch_norm_backward)(int64_t rows, int64_t C, int training, const void *dy, int64_t x_pitch, const void *x,
                                  const void *gamma, const void *beta, const void *mean, const void *variance,
                                  double epsilon, const fc_epilogue *e, void *dx, void *dgamma, void *dbeta) {
  task t = {rows, C, x_pitch, training, e, dy, x, mean, variance, gamma, beta, epsilon, dx, dgamma, dbeta};
  if (rows == 0) {
    if (dgamma) memset(dgamma, 0, (size_t)C * sizeof(real));
    if (dbeta) memset(dbeta, 0, (size_t)C * sizeof(real));
    return FC_OK;
  }
  return by_rows(&t);
}
