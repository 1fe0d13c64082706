/* Zero padding, cropping, and up-sampling of x (N, H, W, C), with their adjoints. */
#include "kernels/base/simd.h"

/* x (N, H, W, C) -> y (N, OH, OW, C) with y[h + top][w + left] = x[h][w], the rest 0; negative offsets crop. */
fc_status FC(place)(const fc_place *p, const void *x_, void *y_) {
  const real *x = x_;
  real *y = y_;
  int64_t left = min_i64(max_i64(p->left, 0), p->OW), right = max_i64(left, min_i64(p->left + p->W, p->OW));
#pragma omp parallel for num_threads(fc_threads_for(p->N * p->OH * p->OW * p->C)) schedule(static)
  for (int64_t i = 0; i < p->N * p->OH; i++) {
    int64_t n = i / p->OH, h = i % p->OH - p->top;
    real *row = y + i * p->OW * p->C;
    if (h < 0 || h >= p->H || left == right) {
      memset(row, 0, (size_t)(p->OW * p->C) * sizeof(real));
      continue;
    }
    memset(row, 0, (size_t)(left * p->C) * sizeof(real));
    memcpy(row + left * p->C, x + ((n * p->H + h) * p->W + left - p->left) * p->C,
           (size_t)((right - left) * p->C) * sizeof(real));
    memset(row + right * p->C, 0, (size_t)((p->OW - right) * p->C) * sizeof(real));
  }
  return FC_OK;
}

/* x (N, H, W, C) -> y (N, H * FH, W * FW, C): pixels repeated */
fc_status FC(upsample_nearest)(const fc_upsample *u, const void *x_, void *y_) {
  const real *x = x_;
  real *y = y_;
  int64_t length = u->W * u->FW * u->C;
#pragma omp parallel for num_threads(fc_threads_for(u->N * u->H * u->FH * length)) schedule(static)
  for (int64_t i = 0; i < u->N * u->H; i++) {
    real *row = y + i * u->FH * length, *to = row;
    for (int64_t w = 0; w < u->W; w++)
      for (int64_t f = 0; f < u->FW; f++, to += u->C)
        memcpy(to, x + (i * u->W + w) * u->C, (size_t)u->C * sizeof(real));
    for (int64_t f = 1; f < u->FH; f++) memcpy(row + f * length, row, (size_t)length * sizeof(real));
  }
  return FC_OK;
}

/* dy (N, H * FH, W * FW, C) -> dx (N, H, W, C) */
fc_status FC(upsample_nearest_backward)(const fc_upsample *u, const void *dy_, void *dx_) {
  const real *dy = dy_;
  real *dx = dx_;
  int64_t length = u->W * u->FW * u->C;
#pragma omp parallel for num_threads(fc_threads_for(u->N * u->H * u->FH * length)) schedule(static)
  for (int64_t i = 0; i < u->N * u->H; i++) {
    real *to = dx + i * u->W * u->C;
    memset(to, 0, (size_t)(u->W * u->C) * sizeof(real));
    for (int64_t f = 0; f < u->FH; f++) {
      const real *from = dy + (i * u->FH + f) * length;
      for (int64_t w = 0; w < u->W; w++)
        for (int64_t g = 0; g < u->FW; g++, from += u->C)
          for (int64_t c = 0; c < u->C; c++) to[w * u->C + c] += from[c];
    }
  }
  return FC_OK;
}

/* Along one axis, output pixel p lies between two input pixels: (1 - weight) * low + weight * high. */
typedef struct {
  int64_t low, high;
  real weight;
} pair;

/* The centre of output pixel p is at (p + 1/2) / factor - 1/2; beyond the edge the edge is repeated. */
FC_INLINE pair pair_of(int64_t p, int64_t factor, int64_t size) {
  double centre = ((double)p + 0.5) / (double)factor - 0.5;
  if (centre < 0) centre = 0;
  int64_t low = (int64_t)centre;
  return (pair){low, min_i64(low + 1, size - 1), (real)(centre - (double)low)};
}

/* Pairs of all output pixels of one axis. */
static void find_pairs(int64_t factor, int64_t size, pair *pairs) {
  for (int64_t p = 0; p < factor * size; p++) pairs[p] = pair_of(p, factor, size);
}

/* to (n) = a * x + b * y */
FC_INLINE void mix(int64_t n, real a, const real *restrict x, real b, const real *restrict y, real *restrict to) {
  for (int64_t i = 0; i < n; i++) to[i] = x[i] * a + y[i] * b;
}
FC_INLINE void add_scaled(int64_t n, real a, const real *restrict x, real *restrict to) {
  for (int64_t i = 0; i < n; i++) to[i] += x[i] * a;
}

/* x (N, H, W, C) -> y (N, H * FH, W * FW, C) */
fc_status FC(upsample_bilinear)(const fc_upsample *u, const void *x_, void *y_) {
  const real *x = x_;
  real *y = y_;
  int64_t rows = u->N * u->H * u->FH, OW = u->W * u->FW, length = u->W * u->C;
  int threads = fc_threads_for(rows * OW * u->C);
  fc_workspace memory = {0};
  real *lines; /* an input row between two, one a thread */
  pair *columns;
  FC_PART(&memory, lines, threads * length);
  FC_PART(&memory, columns, u->FW * u->W);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  find_pairs(u->FW, u->W, columns);
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    real *line = lines + mine * length;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
      pair t = pair_of(i % (u->H * u->FH), u->FH, u->H);
      const real *image = x + i / (u->H * u->FH) * u->H * length;
      mix(length, 1 - t.weight, image + t.low * length, t.weight, image + t.high * length, line);
      for (int64_t q = 0; q < OW; q++) {
        pair s = columns[q];
        mix(u->C, 1 - s.weight, line + s.low * u->C, s.weight, line + s.high * u->C, y + (i * OW + q) * u->C);
      }
    }
  }
  fc_workspace_free(&memory);
  return FC_OK;
}

/* dy (N, H * FH, W * FW, C) -> dx (N, H, W, C): a row of dx gathers the rows of dy it was read by, then their pixels.
 */
fc_status FC(upsample_bilinear_backward)(const fc_upsample *u, const void *dy_, void *dx_) {
  const real *dy = dy_;
  real *dx = dx_;
  int64_t OH = u->H * u->FH, OW = u->W * u->FW, length = OW * u->C;
  int threads = fc_threads_for(2 * u->N * OH * length);
  fc_workspace memory = {0};
  real *lines;
  pair *columns;
  FC_PART(&memory, lines, threads * length);
  FC_PART(&memory, columns, u->FW * u->W);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  find_pairs(u->FW, u->W, columns);
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    real *line = lines + mine * length;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < u->N * u->H; i++) {
      int64_t h = i % u->H, n = i / u->H;
      memset(line, 0, (size_t)length * sizeof(real));
      for (int64_t p = max_i64(0, (h - 1) * u->FH); p < min_i64(OH, (h + 2) * u->FH); p++) {
        pair t = pair_of(p, u->FH, u->H);
        real weight = (t.low == h ? 1 - t.weight : 0) + (t.high == h ? t.weight : 0);
        if (t.low == h || t.high == h) add_scaled(length, weight, dy + (n * OH + p) * length, line);
      }
      real *to = dx + i * u->W * u->C;
      memset(to, 0, (size_t)(u->W * u->C) * sizeof(real));
      for (int64_t q = 0; q < OW; q++) {
        pair s = columns[q];
        add_scaled(u->C, 1 - s.weight, line + q * u->C, to + s.low * u->C);
        add_scaled(u->C, s.weight, line + q * u->C, to + s.high * u->C);
      }
    }
  }
  fc_workspace_free(&memory);
  return FC_OK;
}
