/* Backward weights with few filters: their gradients would leave most lanes of a vector empty, so here the lanes are
 * neighbouring pixels of a row. Bands of x and dy are copied channel by channel into planes; every element of dw is the
 * product of two planes, one shifted by its tap, and its lanes are added up at the end.
 *
 *      plane of x, with its padding       plane of dy
 *      0 0 0 0 0 0                                           dw[tap (0, 1), c, k] = 0 d0 + 0 d1 + ... + a d4 + ...
 *      0 a b c d 0                        d0 d1 d2 d3        dw[tap (1, 1), c, k] = a d0 + b d1 + c d2 + ...
 *      0 e f g h 0                        d4 d5 d6 d7        VL neighbours at a time, ROWS x FILTERS such sums in
 *      0 0 0 0 0 0                                           registers
 *
 * x (N, H, W, C), dy (N, OH, OW, K), dw (KH, KW, C, K), stride 1, one group. */
#include "taps.h"

enum {
  ROWS = 4,                             /* sums of a tile: so many rows (tap, channel) of dw */
  FILTERS = FC_VEC_BYTES == 64 ? 6 : 2, /* by so many filters */
  MOST_FILTERS = (int)(FC_VEC_BYTES / sizeof(real)) / 2,
  CHUNKS = 16 /* of bands, each with sums of its own: by the shape, not by the threads */
};

typedef struct {
  const fc_conv2d *d;
  int64_t wide;                     /* a row of x with its padding */
  int64_t rows, bands;              /* output rows of a band, bands of an image */
  int64_t x_plane, dy_plane;        /* elements */
  int64_t dw_rows, padded, filters; /* KH * KW * C, and rounded up to ROWS; K rounded up to FILTERS */
} few_plan;

static few_plan plan_work(const fc_conv2d *d) {
  few_plan f = {.d = d, .wide = d->W + d->PL + d->PR, .dw_rows = d->KH * d->KW * d->C};
  int64_t reach = (d->KH - 1) * d->DH;
  f.padded = ceil_div(f.dw_rows, ROWS) * ROWS, f.filters = ceil_div(d->K, FILTERS) * FILTERS;
  int64_t fit = (PLANES_BYTES / (int64_t)sizeof(real) - d->C * reach * f.wide) / (d->C * f.wide + f.filters * d->OW);
  f.rows = min_i64(max_i64(1, fit), d->OH);
  f.bands = ceil_div(d->OH, f.rows);
  f.x_plane = (f.rows + reach) * f.wide, f.dy_plane = f.rows * d->OW;
  return f;
}

int FC(few_filters)(const fc_conv2d *d) {
  if (d->G > 1 || d->SH > 1 || d->SW > 1 || d->K > MOST_FILTERS || d->KH * d->KW * d->C < 2 * ROWS) return 0;
  return 3 * d->OW >= 2 * ceil_div(d->OW, VL) * VL && plan_work(d).rows >= min_i64(d->OH, (d->KH - 1) * d->DH);
}

/* Output rows first .. first + rows of image n, and the rows of x that they read, into planes. */
static void fill_planes(const few_plan *f, int64_t n, int64_t first, int64_t rows, const real *x, const real *dy,
                        real *planes, real *dy_planes) {
  const fc_conv2d *d = f->d;
  memset(planes, 0, (size_t)(d->C * f->x_plane) * sizeof(real));
  tap_image image = {x, d->N, d->H, d->W, d->x_pitch};
  tap_band input = {first - d->PT, -d->PL, rows + (d->KH - 1) * d->DH, f->wide, f->x_plane};
  FC(band_to_planes)(&image, d->C, n, &input, planes);
  const real *from = dy + (n * d->OH + first) * d->OW * d->y_pitch;
  FC(to_planes)(from, rows * d->OW, d->K, d->y_pitch, f->dy_plane, dy_planes);
}

/* sum (ROWS, FILTERS) += x[tap] dy[filter] for n neighbours */
FC_INLINE void add_pixels(const real *const *x, const real *dy, int64_t plane, int64_t n, vec (*sum)[FILTERS]) {
  vec gradient[FILTERS];
  UNROLL(6)
  for (int k = 0; k < FILTERS; k++) gradient[k] = load_n(dy + k * plane, n);
  UNROLL(4)
  for (int t = 0; t < ROWS; t++) {
    vec pixels = in_register(load_n(x[t], n));
    UNROLL(6)
    for (int k = 0; k < FILTERS; k++) sum[t][k] += pixels * gradient[k];
  }
}

/* sums (ROWS, FILTERS), vectors step apart from tap to tap, += a band; x: where each tap begins */
static FC_NOINLINE void add_band(const few_plan *f, int64_t rows, const real *const *x, const real *dy, real *sums,
                                 int64_t step) {
  vec sum[ROWS][FILTERS];
  UNROLL(4)
  for (int t = 0; t < ROWS; t++) {
    UNROLL(6)
    for (int k = 0; k < FILTERS; k++) sum[t][k] = load(sums + t * step + k * VL);
  }
  for (int64_t r = 0; r < rows; r++, dy += f->d->OW) {
    const real *at[ROWS];
    int64_t i = 0;
    UNROLL(4)
    for (int t = 0; t < ROWS; t++) at[t] = x[t] + r * f->wide;
    for (; i + VL <= f->d->OW; i += VL) {
      add_pixels(at, dy + i, f->dy_plane, VL, sum);
      UNROLL(4)
      for (int t = 0; t < ROWS; t++) at[t] += VL;
    }
    if (i < f->d->OW) add_pixels(at, dy + i, f->dy_plane, f->d->OW - i, sum);
  }
  UNROLL(4)
  for (int t = 0; t < ROWS; t++) {
    UNROLL(6)
    for (int k = 0; k < FILTERS; k++) store(sums + t * step + k * VL, sum[t][k]);
  }
}

/* Bands begin .. end, an image's one after the other, into sums [padded][filters] vectors. */
static void run_chunk(const few_plan *f, int64_t begin, int64_t end, const real *x, const real *dy, real *planes,
                      real *sums) {
  const fc_conv2d *d = f->d;
  real *dy_planes = planes + d->C * f->x_plane;
  int64_t step = f->filters * VL;
  memset(sums, 0, (size_t)(f->padded * step) * sizeof(real));
  memset(dy_planes, 0, (size_t)(f->filters * f->dy_plane) * sizeof(real));
  for (int64_t band = begin; band < end; band++) {
    int64_t first = band % f->bands * f->rows, rows = min_i64(f->rows, d->OH - first);
    fill_planes(f, band / f->bands, first, rows, x, dy, planes, dy_planes);
    for (int64_t q = 0; q < f->padded; q += ROWS) {
      const real *at[ROWS];
      for (int64_t i = 0; i < ROWS; i++) {
        int64_t tap = min_i64(q + i, f->dw_rows - 1) / d->C, c = min_i64(q + i, f->dw_rows - 1) % d->C;
        at[i] = planes + c * f->x_plane + tap / d->KW * d->DH * f->wide + tap % d->KW * d->DW;
      }
      for (int64_t k = 0; k < f->filters; k += FILTERS)
        add_band(f, rows, at, dy_planes + k * f->dy_plane, sums + q * step + k * VL, step);
    }
  }
}

fc_status FC(few_filters_weights)(const fc_conv2d *d, const real *x, const real *dy, real *dw) {
  few_plan f = plan_work(d);
  int64_t threads = fc_threads_for_macs(d->N * d->OH * d->OW * (f.dw_rows * d->K + VL)), bands = d->N * f.bands;
  int64_t chunks = min_i64(CHUNKS, bands), size = f.padded * f.filters * VL;
  int64_t planes = d->C * f.x_plane + f.filters * f.dy_plane;
  fc_workspace memory = {0};
  real *scratch, *sums;
  FC_PART(&memory, scratch, threads * planes);
  FC_PART(&memory, sums, chunks * size);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
#pragma omp for schedule(dynamic)
    for (int64_t chunk = 0; chunk < chunks; chunk++)
      run_chunk(&f, bands * chunk / chunks, bands * (chunk + 1) / chunks, x, dy, scratch + mine * planes,
                sums + chunk * size);
  }
  for (int64_t i = 0; i < f.dw_rows * d->K; i++) {
    const real *from = sums + (i / d->K * f.filters + i % d->K) * VL;
    vec all = {0};
    for (int64_t chunk = 0; chunk < chunks; chunk++) all += load(from + chunk * size);
    real sum = 0;
    for (int l = 0; l < VL; l++) sum += all[l];
    dw[i] = sum;
  }
  fc_workspace_free(&memory);
  return FC_OK;
}
