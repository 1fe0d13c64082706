/* Convolution by Winograd's minimal filtering: forward, and backward data as a forward pass of dy with flipped filters.
 * x (N, H, W, C), w (r, r, C, K), y and dy (N, OH, OW, K). */
#include "winograd.h"

enum { STRIP = 128 }; /* channels of a panel of filters whose values stay in L2 */

/* m[xi] (rows, columns of a panel) (+)= v[xi] (rows, channels c .. c + depth) u[xi], xi = 0 .. points * points;
 * u: [u_plane] apart, (depth, width * VL) each */
static void multiply(const winograd *p, int64_t panel, int64_t rows, const winograd_values *v, int64_t c, int64_t depth,
                     const real *u, int64_t u_plane, const winograd_values *m, const real *zero) {
  int width = panel_width(p->K, panel);
  int64_t height = even_height(rows, width);
  tile_output out = {.cols = (int64_t)width * VL, .accumulate = c > 0, .bias = zero};
  for (int xi = 0; xi < p->points * p->points; xi++, u += u_plane) {
    const real *from = v->data + xi * v->plane + c;
    real *into = m->data + xi * m->plane + panel_start(panel);
    for (int64_t first = 0; first < rows; first += height) {
      int mr = (int)min_i64(rows - first, height);
      const real *row[MR_MAX];
      real *at[MR_MAX];
      for (int r = 0; r < mr; r++) row[r] = from + (first + r) * v->pitch, at[r] = into + (first + r) * m->pitch;
      tile_rows_fn *product = FC(tile_rows)[width - 1][mr - 1];
      product(1, depth, row, MR_MAX, 0, u, at, &out);
    }
  }
}

/* What the drivers share. */
typedef struct {
  winograd p;
  const winograd_transforms *t;
  real *zero;   /* winograd_zeros */
  real *finish; /* bias and slope, padded */
} job;

static void release(job *j) {
  fc_free(j->zero);
  fc_free(j->finish);
}

static fc_status prepare(job *j, const fc_epilogue *e) {
  winograd *p = &j->p;
  int64_t padded = padded_cols(p->K);
  winograd_cover(p);
  j->t = FC(winograd_find)(p->points, p->r);
  j->zero = winograd_zeros(p->C, p->K);
  j->finish = fc_alloc(2 * (size_t)padded * sizeof(real));
  if (!j->zero || !j->finish) return FC_NO_MEMORY;
  FC(pad_row)(p->K, e ? e->bias : NULL, j->finish);
  FC(pad_row)(p->K, e ? e->slope : NULL, j->finish + padded);
  p->finish = (tile_output){.bias = j->finish, .slope = j->finish + padded};
  if (e) p->finish.kind = e->kind, p->finish.parameter = (real)e->parameter;
  return FC_OK;
}

static int threads_for(const winograd *p) {
  return fc_threads_for_macs(p->points * p->points * p->tiles * (p->C + 1) * p->K);
}

void FC(winograd_transform_filters)(const winograd *p, const real *w, real *u) {
  const winograd_transforms *t = FC(winograd_find)(p->points, p->r);
  int64_t square = p->points * p->points, panels = panel_count(p->K), strips = ceil_div(p->C, STRIP);
#pragma omp parallel for num_threads(fc_threads_for(square * p->C * p->K)) schedule(static)
  for (int64_t task = 0; task < panels * strips; task++) {
    int64_t panel = task / strips, start = panel_start(panel), c = task % strips * STRIP;
    int64_t full = (int64_t)panel_width(p->K, panel) * VL;
    t->filter(p, w, c, min_i64(p->C - c, STRIP), start, (int)(full / VL), u + start * square * p->C + c * full,
              p->C * full);
  }
}

/* Many tiles: a thread takes a block of them from input to output, the transformed filters stream past. */
static fc_status run_blocks(const job *j, const real *w, const real *prepared, real *y, int64_t y_pitch) {
  const winograd *p = &j->p;
  int64_t square = p->points * p->points, panels = panel_count(p->K);
  int64_t bytes = square * (winograd_pitch(p->C) + winograd_pitch(p->K)) * (int64_t)sizeof(real);
  int64_t height = tile_height(panel_width(p->K, 0));
  int64_t step = max_i64(WINOGRAD_BLOCK_BYTES / bytes / height, 2) * height, blocks = ceil_div(p->tiles, step);
  winograd_values v = {.pitch = winograd_pitch(p->C)}, m = {.pitch = winograd_pitch(p->K)};
  v.plane = winograd_plane(step, v.pitch), m.plane = winograd_plane(step, m.pitch);
  int threads = threads_for(p);
  int64_t each = square * (v.plane + m.plane);
  real *own = prepared ? NULL : fc_alloc((size_t)(square * p->C * padded_cols(p->K)) * sizeof(real));
  const real *u = prepared ? prepared : own;
  real *values = fc_alloc((size_t)(threads * each) * sizeof(real));
  fc_status status = u && values ? FC_OK : FC_NO_MEMORY;
  if (status == FC_OK) {
    if (own) FC(winograd_transform_filters)(p, w, own);
#pragma omp parallel num_threads(threads)
    {
      int mine = fc_thread_number();
      winograd_values from = v, to = m;
      from.data = values + mine * each, to.data = from.data + square * v.plane;
#pragma omp for schedule(dynamic)
      for (int64_t b = 0; b < blocks; b++) {
        int64_t first = b * step, count = min_i64(p->tiles - first, step);
        j->t->input(p, first, count, j->zero, &from);
        for (int64_t panel = 0; panel < panels; panel++) {
          int64_t start = panel_start(panel);
          multiply(p, panel, count, &from, 0, p->C, u + start * square * p->C, p->C * panel_width(p->K, panel) * VL,
                   &to, j->zero);
        }
        j->t->output(p, first, count, 0, p->K, &to, y, y_pitch);
      }
      stream_fence();
    }
  }
  fc_free(own);
  fc_free(values);
  return status;
}

/* Few tiles for many filters: a thread takes a panel of filters, transforms a strip of them in L2 (filters) and
 * multiplies all tiles by it. */
static void wave(const job *j, const real *w, const real *prepared, int64_t first, int64_t count,
                 const winograd_values *v, const winograd_values *m, int threads, real *filters, real *y,
                 int64_t y_pitch) {
  const winograd *p = &j->p;
  int64_t panels = panel_count(p->K), square = p->points * p->points;
#pragma omp parallel num_threads(threads)
  {
    int mine = fc_thread_number();
    real *u = filters + mine * square * STRIP * NV_MAX * VL;
#pragma omp for schedule(dynamic, 4)
    for (int64_t t = 0; t < count; t++) {
      winograd_values row = {v->data + t * v->pitch, v->pitch, v->plane};
      j->t->input(p, first + t, 1, j->zero, &row);
    }
#pragma omp for schedule(dynamic)
    for (int64_t panel = 0; panel < panels; panel++) {
      int width = panel_width(p->K, panel);
      for (int64_t c = 0; c < p->C; c += STRIP) {
        int64_t depth = min_i64(p->C - c, STRIP), plane = (prepared ? p->C : depth) * width * VL;
        const real *strip = prepared ? prepared + panel_start(panel) * square * p->C + c * width * VL : u;
        if (!prepared) j->t->filter(p, w, c, depth, panel_start(panel), width, u, plane);
        multiply(p, panel, count, v, c, depth, strip, plane, m, j->zero);
      }
    }
#pragma omp for schedule(dynamic, 4)
    for (int64_t t = 0; t < count; t++) {
      winograd_values row = {m->data + t * m->pitch, m->pitch, m->plane};
      j->t->output(p, first + t, 1, 0, p->K, &row, y, y_pitch);
    }
    stream_fence();
  }
}

static fc_status run_waves(const job *j, const real *w, const real *prepared, real *y, int64_t y_pitch) {
  const winograd *p = &j->p;
  int64_t square = p->points * p->points;
  winograd_values v = {.pitch = winograd_pitch(p->C)}, m = {.pitch = winograd_pitch(p->K)};
  int64_t bytes = square * max_i64(v.pitch, m.pitch) * (int64_t)sizeof(real);
  int64_t waves = ceil_div(p->tiles * bytes, WINOGRAD_WAVE_BYTES), step = ceil_div(p->tiles, waves);
  v.plane = winograd_plane(step, v.pitch), m.plane = winograd_plane(step, m.pitch);
  int threads = threads_for(p);
  v.data = fc_alloc((size_t)(square * v.plane) * sizeof(real));
  m.data = fc_alloc((size_t)(square * m.plane) * sizeof(real));
  real *filters = fc_alloc((size_t)(threads * square * STRIP * NV_MAX * VL) * sizeof(real));
  fc_status status = v.data && m.data && filters ? FC_OK : FC_NO_MEMORY;
  for (int64_t first = 0; first < p->tiles && status == FC_OK; first += step)
    wave(j, w, prepared, first, min_i64(p->tiles - first, step), &v, &m, threads, filters, y, y_pitch);
  fc_free(v.data);
  fc_free(m.data);
  fc_free(filters);
  return status;
}

static fc_status run(job *j, const real *w, const real *u, real *y, int64_t y_pitch) {
  winograd *p = &j->p;
  if (p->tiles == 0) return FC_OK;
  p->finish.stream = y_pitch * (int64_t)sizeof(real) % CACHE_LINE == 0 && goes_past(y, p->in.N * p->OH * p->OW * p->K);
  /* What the filters' values would cost in streaming past every block, against those of the tiles past every panel. */
  int few = p->tiles * (p->C + p->K) < 2 * p->C * p->K;
  return (few ? run_waves : run_blocks)(j, w, u, y, y_pitch);
}

fc_status FC(winograd_forward)(const fc_conv2d *d, int points, const real *x, const real *w, const real *u,
                               const fc_epilogue *e, real *y) {
  job j = {.p = {.points = points, .r = (int)d->KH, .C = d->C, .K = d->K, .top = d->PT, .left = d->PL}};
  j.p.in = (tap_image){x, d->N, d->H, d->W, d->x_pitch};
  j.p.OH = d->OH, j.p.OW = d->OW;
  fc_status status = prepare(&j, e);
  if (status == FC_OK) status = run(&j, w, u, y, d->y_pitch);
  release(&j);
  return status;
}

fc_status FC(winograd_backward_data)(const fc_conv2d *d, int points, const real *dy, const real *w, real *dx) {
  job j = {.p = {.points = points, .r = (int)d->KH, .C = d->K, .K = d->C, .flipped = 1}};
  j.p.top = d->KH - 1 - d->PT, j.p.left = d->KW - 1 - d->PL;
  j.p.in = (tap_image){dy, d->N, d->OH, d->OW, d->y_pitch};
  j.p.OH = d->H, j.p.OW = d->W;
  fc_status status = prepare(&j, NULL);
  if (status == FC_OK) status = run(&j, w, NULL, dx, d->x_pitch);
  release(&j);
  return status;
}
