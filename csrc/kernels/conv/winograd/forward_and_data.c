/* Convolution by Winograd's minimal filtering: forward, and backward data as a forward pass of dy with flipped filters.
 *
 *      tiles of the input      filters               products, at each point      tiles of the output
 *      (tiles, C)              (C, K)                (tiles, K)                   m x m pixels each
 *      +---+  values at each   +-------+             +-------+
 *      |   |  of points x      | panel |  v u        |       |  interpolated
 *      |   |  points points    +-------+  ------->   |       |  ------------>
 *      +---+                                         +-------+
 *
 *      blocks  many tiles: a thread takes a block of them from input to output, all filters stream past it
 *      waves   few tiles, many filters: a thread takes a panel of filters and multiplies all tiles by it
 *
 * x (N, H, W, C), w (r, r, C, K), y and dy (N, OH, OW, K). */
#include "winograd.h"

enum { STRIP = 128 }; /* channels of a panel of filters whose values stay in L2 */

/* One pass over all tiles, and the memory that it works with. */
typedef struct {
  winograd p;
  const winograd_transforms *t;
  const real *w, *prepared; /* filters, and what they become, or NULL */
  const fc_epilogue *e;     /* or NULL */
  real *y;
  int64_t y_pitch;
  fc_workspace memory;
  real *zero, *bias, *slope; /* padded */
} pass;

/* Takes the parts that the caller has named, and these. */
static int take(pass *j) {
  winograd *p = &j->p;
  FC_PART(&j->memory, j->zero, padded_cols(max_i64(p->C, p->K)));
  FC_PART(&j->memory, j->bias, padded_cols(p->K));
  FC_PART(&j->memory, j->slope, padded_cols(p->K));
  if (!fc_workspace_take(&j->memory)) return 0;
  FC(pad_row)(max_i64(p->C, p->K), NULL, j->zero);
  FC(pad_row)(p->K, j->e ? j->e->bias : NULL, j->bias);
  FC(pad_row)(p->K, j->e ? j->e->slope : NULL, j->slope);
  p->output.bias = j->bias, p->output.slope = j->slope;
  return 1;
}

static int threads_for(const winograd *p) {
  return fc_threads_for_macs(p->points * p->points * p->tiles * (p->C + 1) * p->K);
}

/* Channels c .. c + depth - 1 of a panel of filters, at each point a plane apart, (depth, width * VL) each. */
typedef struct {
  int64_t panel, c, depth, plane;
  const real *u;
} filter_strip;

/* m[xi] (rows, columns of the panel) (+)= v[xi] (rows, channels of the strip) u[xi], xi = 0 .. points * points - 1 */
static void multiply(const pass *j, const filter_strip *f, int64_t rows, const winograd_values *v,
                     const winograd_values *m) {
  const winograd *p = &j->p;
  int width = panel_width(p->K, f->panel);
  int64_t height = even_height(rows, width);
  tile_output out = {.cols = (int64_t)width * VL, .accumulate = f->c > 0, .bias = j->zero};
  for (int xi = 0; xi < p->points * p->points; xi++) {
    const real *from = v->data + xi * v->plane + f->c;
    real *into = m->data + xi * m->plane + panel_start(f->panel);
    for (int64_t first = 0; first < rows; first += height) {
      int mr = (int)min_i64(rows - first, height);
      const real *row[MR_MAX];
      real *at[MR_MAX];
      for (int r = 0; r < mr; r++) row[r] = from + (first + r) * v->pitch, at[r] = into + (first + r) * m->pitch;
      tile_rows_fn *product = FC(tile_rows)[width - 1][mr - 1];
      product(1, f->depth, row, MR_MAX, 0, f->u + xi * f->plane, at, &out);
    }
  }
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

static void run_block(const pass *j, const real *u, int64_t first, int64_t count, const winograd_values *v,
                      const winograd_values *m) {
  const winograd *p = &j->p;
  int64_t square = p->points * p->points;
  j->t->input(p, first, count, j->zero, v);
  for (int64_t panel = 0; panel < panel_count(p->K); panel++) {
    const real *filters = u + panel_start(panel) * square * p->C;
    filter_strip all = {panel, 0, p->C, p->C * panel_width(p->K, panel) * VL, filters};
    multiply(j, &all, count, v, m);
  }
  j->t->output(p, first, count, m, j->y, j->y_pitch);
}

static fc_status run_blocks(pass *j) {
  const winograd *p = &j->p;
  int64_t square = p->points * p->points;
  int64_t bytes = square * (winograd_pitch(p->C) + winograd_pitch(p->K)) * (int64_t)sizeof(real);
  int64_t height = tile_height(panel_width(p->K, 0));
  int64_t step = max_i64(WINOGRAD_BLOCK_BYTES / bytes / height, 2) * height, blocks = ceil_div(p->tiles, step);
  winograd_values v = {.pitch = winograd_pitch(p->C)}, m = {.pitch = winograd_pitch(p->K)};
  v.plane = winograd_plane(step, v.pitch), m.plane = winograd_plane(step, m.pitch);
  int64_t threads = threads_for(p), each = square * (v.plane + m.plane);
  real *own, *values;
  FC_PART(&j->memory, own, j->prepared ? 0 : square * p->C * padded_cols(p->K));
  FC_PART(&j->memory, values, threads * each);
  if (!take(j)) return FC_NO_MEMORY;
  if (!j->prepared) FC(winograd_transform_filters)(p, j->w, own);
  const real *u = j->prepared ? j->prepared : own;
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    winograd_values from = v, to = m;
    from.data = values + mine * each, to.data = from.data + square * v.plane;
#pragma omp for schedule(dynamic)
    for (int64_t b = 0; b < blocks; b++) run_block(j, u, b * step, min_i64(p->tiles - b * step, step), &from, &to);
    stream_fence();
  }
  fc_workspace_free(&j->memory);
  return FC_OK;
}

/* A panel of filters against count tiles, strip by strip; u: room for the values of a strip */
static void run_panel(const pass *j, int64_t panel, int64_t count, const winograd_values *v, const winograd_values *m,
                      real *u) {
  const winograd *p = &j->p;
  int width = panel_width(p->K, panel);
  int64_t start = panel_start(panel), full = (int64_t)width * VL;
  for (int64_t c = 0; c < p->C; c += STRIP) {
    filter_strip f = {.panel = panel, .c = c, .depth = min_i64(p->C - c, STRIP)};
    f.plane = (j->prepared ? p->C : f.depth) * full;
    f.u = j->prepared ? j->prepared + start * p->points * p->points * p->C + c * full : u;
    if (!j->prepared) j->t->filter(p, j->w, c, f.depth, start, width, u, f.plane);
    multiply(j, &f, count, v, m);
  }
}

/* Inside a parallel region: tiles first .. first + count - 1 from input to output; all threads share v and m. */
static void wave(const pass *j, int64_t first, int64_t count, const winograd_values *v, const winograd_values *m,
                 real *u) {
  const winograd *p = &j->p;
#pragma omp for schedule(dynamic, 4)
  for (int64_t t = 0; t < count; t++) {
    winograd_values row = {v->data + t * v->pitch, v->pitch, v->plane};
    j->t->input(p, first + t, 1, j->zero, &row);
  }
#pragma omp for schedule(dynamic)
  for (int64_t panel = 0; panel < panel_count(p->K); panel++) run_panel(j, panel, count, v, m, u);
#pragma omp for schedule(dynamic, 4)
  for (int64_t t = 0; t < count; t++) {
    winograd_values row = {m->data + t * m->pitch, m->pitch, m->plane};
    j->t->output(p, first + t, 1, &row, j->y, j->y_pitch);
  }
}

static fc_status run_waves(pass *j) {
  const winograd *p = &j->p;
  int64_t square = p->points * p->points, threads = threads_for(p);
  winograd_values v = {.pitch = winograd_pitch(p->C)}, m = {.pitch = winograd_pitch(p->K)};
  int64_t bytes = square * max_i64(v.pitch, m.pitch) * (int64_t)sizeof(real);
  int64_t waves = ceil_div(p->tiles * bytes, WINOGRAD_WAVE_BYTES), step = ceil_div(p->tiles, waves);
  int64_t strip = j->prepared ? 0 : square * STRIP * NV_MAX * VL;
  v.plane = winograd_plane(step, v.pitch), m.plane = winograd_plane(step, m.pitch);
  real *filters;
  FC_PART(&j->memory, v.data, square * v.plane);
  FC_PART(&j->memory, m.data, square * m.plane);
  FC_PART(&j->memory, filters, threads * strip);
  if (!take(j)) return FC_NO_MEMORY;
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    for (int64_t first = 0; first < p->tiles; first += step)
      wave(j, first, min_i64(p->tiles - first, step), &v, &m, filters + mine * strip);
    stream_fence();
  }
  fc_workspace_free(&j->memory);
  return FC_OK;
}

static fc_status run(pass *j) {
  winograd *p = &j->p;
  winograd_cover(p);
  if (p->tiles == 0) return FC_OK;
  j->t = FC(winograd_find)(p->points, p->r);
  if (j->e) p->output.kind = j->e->kind, p->output.parameter = (real)j->e->parameter;
  int64_t outputs = p->in.N * p->OH * p->OW * p->K;
  p->output.past = j->y_pitch * (int64_t)sizeof(real) % CACHE_LINE == 0 && goes_past(j->y, outputs);
  /* What the filters' values would cost in streaming past every block, against those of the tiles past every panel. */
  int few = p->tiles * (p->C + p->K) < 2 * p->C * p->K;
  return (few ? run_waves : run_blocks)(j);
}

fc_status FC(winograd_forward)(const fc_conv2d *d, int points, const real *x, const real *w, const real *u,
                               const fc_epilogue *e, real *y) {
  pass j = {.w = w, .prepared = u, .e = e, .y = y, .y_pitch = d->y_pitch};
  j.p = (winograd){.points = points, .r = (int)d->KH, .C = d->C, .K = d->K, .top = d->PT, .left = d->PL};
  j.p.in = (tap_image){x, d->N, d->H, d->W, d->x_pitch};
  j.p.OH = d->OH, j.p.OW = d->OW;
  return run(&j);
}

fc_status FC(winograd_backward_data)(const fc_conv2d *d, int points, const real *dy, const real *w, real *dx) {
  pass j = {.w = w, .y = dx, .y_pitch = d->x_pitch};
  j.p = (winograd){.points = points, .r = (int)d->KH, .C = d->K, .K = d->C, .flipped = 1};
  j.p.top = d->KH - 1 - d->PT, j.p.left = d->KW - 1 - d->PL;
  j.p.in = (tap_image){dy, d->N, d->OH, d->OW, d->y_pitch};
  j.p.OH = d->H, j.p.OW = d->W;
  return run(&j);
}
