/* Backward weights by Winograd's filtering: input tiles and dy tiles become values at the points, their products summed
 * over all tiles are the gradient's values there.
 *
 *      values of x        values of dy               sums, at each point            dw
 *      (tiles, C)         (tiles, K)                 (C, K)                         (r, r, C, K)
 *      +---+  at each     +---+       v^T d          +------+  interpolated
 *      |   |  of points   |   |  ------------->      |      |  ------------>
 *      +---+  x points    +---+                      +------+
 *
 * A task is a box of these: some tiles, points, channels and columns. Three schedules cut them differently:
 *
 *      chunks  small sums: a task is a chunk of the tiles; it transforms them block by block and adds to sums of its
 *              own, which stay in its L2; these are added up in the end
 *      waves   large sums of many tiles: all threads transform some tiles, then share out points and channels
 *      parts   sums larger than the values of all tiles: a task takes a part of dw through all points, its sums stay in
 *              L2 and become dw at once
 *
 * x (N, H, W, C), dy (N, OH, OW, K), dw (r, r, C, K). */
#include "winograd.h"

enum {
  CHUNKS = 16,   /* sums in all, if they are that small: fixed, so that threads change no bit */
  SHARE = 224,   /* channels of a task: whole register tiles on every instruction set */
  ROW_TILES = 2, /* or a part of dw whose sums stay in L2: register tiles of channels */
  PANELS = 4     /* and panels of columns */
};

/* How tiles, points and dw are cut, by the shape alone. */
typedef struct {
  int64_t wave, block;        /* tiles that are worked on between two barriers; whose values exist at a time */
  int64_t chunks;             /* of a wave's tiles, each with sums of its own */
  int64_t points;             /* of a task: all of them or one */
  int64_t channels, panels;   /* of a task, at most */
  int own_values;             /* a task transforms its tiles itself, else all threads do it before */
  int own_sums;               /* a task's sums become dw at once, else in the end */
  winograd_values v, d, sums; /* their pitches and planes, for one owner */
} schedule;

typedef struct {
  winograd x, dy; /* tiles of both, the same ones */
  const winograd_transforms *t;
  schedule s;
  real *zero, *dw;
} pass;

/* Tiles begin .. end - 1, points, channels and panels from .. on; chunk: which sums. */
typedef struct {
  int64_t begin, end, point, last_point, c, channels, panel, last_panel, chunk;
} task;

static int64_t all_points(const pass *p) { return p->x.points * p->x.points; }
static int64_t points_cuts(const pass *p) { return ceil_div(all_points(p), p->s.points); }
static int64_t channel_cuts(const pass *p) { return ceil_div(p->x.C, p->s.channels); }
static int64_t panel_cuts(const pass *p) { return ceil_div(panel_count(p->dy.C), p->s.panels); }
static int64_t task_count(const pass *p) { return p->s.chunks * points_cuts(p) * channel_cuts(p) * panel_cuts(p); }

/* Task i of the wave of count tiles from first on; the channels change fastest. */
static task task_at(const pass *p, int64_t first, int64_t count, int64_t i) {
  const schedule *s = &p->s;
  task t = {.c = i % channel_cuts(p) * s->channels};
  i /= channel_cuts(p);
  t.panel = i % panel_cuts(p) * s->panels;
  i /= panel_cuts(p);
  t.point = i % points_cuts(p) * s->points;
  t.chunk = i / points_cuts(p);
  t.channels = min_i64(p->x.C - t.c, s->channels);
  t.last_panel = min_i64(panel_count(p->dy.C), t.panel + s->panels);
  t.last_point = t.point + s->points;
  t.begin = first + count * t.chunk / s->chunks, t.end = first + count * (t.chunk + 1) / s->chunks;
  return t;
}

/* sum (channels, columns of the task's panels) (+)= v^T d, at point xi, over `tiles` rows of values */
static void add_products(const pass *p, const task *t, int64_t xi, int64_t tiles, const winograd_values *v,
                         const winograd_values *d, real *sum, int accumulate) {
  int64_t K = p->dy.C;
  tile_segment s = {v->data + xi * v->plane, d->data + xi * d->plane, tiles};
  tile_operands in = {.segments = &s, .count = 1, .a_step = v->pitch, .b_step = d->pitch};
  tile_output out = {.accumulate = accumulate, .bias = p->zero};
  for (int64_t panel = t->panel; panel < t->last_panel; panel++) {
    int width = panel_width(K, panel);
    int64_t height = even_height(t->channels, width);
    real *to = sum + panel_start(panel) - panel_start(t->panel);
    in.b_first = panel_start(panel);
    out.cols = (int64_t)width * VL;
    for (int64_t i = 0; i < t->channels; i += height) {
      in.a_first = t->c + i;
      FC(tile_outer)
      [width - 1][min_i64(t->channels - i, height) - 1](&in, to + i *p->s.sums.pitch, p->s.sums.pitch, &out);
    }
  }
}

static void gather(const pass *p, int64_t first, int64_t tiles, const winograd_values *v, const winograd_values *d) {
  p->t->input(&p->x, first, tiles, p->zero, v);
  p->t->gradient(&p->dy, first, tiles, p->zero, d);
}

/* Inside a parallel region: the values of count tiles, shared by all threads. */
static void gather_shared(const pass *p, int64_t first, int64_t count, const winograd_values *v,
                          const winograd_values *d) {
#pragma omp for schedule(dynamic, 4)
  for (int64_t t = 0; t < count; t++) {
    winograd_values from = {v->data + t * v->pitch, v->pitch, v->plane};
    winograd_values with = {d->data + t * d->pitch, d->pitch, d->plane};
    gather(p, first + t, 1, &from, &with);
  }
}

/* v, d: the task's own values, or those of the wave, which is one block then. sums: at the task's channels. */
static void run_task(const pass *p, const task *t, const winograd_values *v, const winograd_values *d, real *sums) {
  const schedule *s = &p->s;
  int64_t start = s->own_values ? t->begin : 0; /* where these sums began */
  for (int64_t first = t->begin; first < t->end; first += s->block) {
    int64_t count = min_i64(t->end - first, s->block);
    if (s->own_values) gather(p, first, count, v, d);
    for (int64_t xi = t->point; xi < t->last_point; xi++)
      add_products(p, t, xi, count, v, d, sums + xi * s->sums.plane, first > start);
  }
  if (!s->own_sums) return;
  int64_t K = p->dy.C, column = panel_start(t->panel);
  int64_t cols = (t->last_panel == panel_count(K) ? K : panel_start(t->last_panel)) - column;
  for (int64_t i = 0; i < t->channels; i++)
    p->t->dw(&p->x, sums + i * s->sums.pitch, s->sums.plane, cols, p->dw + (t->c + i) * K + column, K);
}

/* Row c of dw: the chunks' sums added up in order, and interpolated. */
static void finish_row(const pass *p, int64_t c, real *sums) {
  const winograd_values *one = &p->s.sums;
  int64_t K = p->dy.C, size = all_points(p) * one->plane;
  for (int64_t chunk = 1; chunk < p->s.chunks; chunk++)
    for (int64_t xi = 0; xi < all_points(p); xi++) {
      real *into = sums + xi * one->plane + c * one->pitch;
      for (int64_t k = 0; k < padded_cols(K); k += VL) store(into + k, load(into + k) + load(into + chunk * size + k));
    }
  p->t->dw(&p->x, sums + c * one->pitch, one->plane, K, p->dw + c * K, K);
}

static fc_status run_schedule(pass *p) {
  const schedule *s = &p->s;
  int64_t tiles = p->x.tiles, zeros = padded_cols(max_i64(p->x.C, p->dy.C));
  int64_t threads = fc_threads_for_macs(all_points(p) * tiles * p->x.C * p->dy.C);
  int64_t v_size = all_points(p) * s->v.plane, d_size = all_points(p) * s->d.plane;
  int64_t size = all_points(p) * s->sums.plane;
  fc_workspace memory = {0};
  real *v_values, *d_values, *sums;
  FC_PART(&memory, p->zero, zeros);
  FC_PART(&memory, v_values, (s->own_values ? threads : 1) * v_size);
  FC_PART(&memory, d_values, (s->own_values ? threads : 1) * d_size);
  FC_PART(&memory, sums, (s->own_sums ? threads : s->chunks) * size);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  FC(pad_row)(zeros, NULL, p->zero);
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    winograd_values v = s->v, d = s->d;
    v.data = v_values + (s->own_values ? mine * v_size : 0), d.data = d_values + (s->own_values ? mine * d_size : 0);
    for (int64_t first = 0; first < tiles; first += s->wave) {
      int64_t count = min_i64(tiles - first, s->wave);
      if (!s->own_values) gather_shared(p, first, count, &v, &d);
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < task_count(p); i++) {
        task t = task_at(p, first, count, i);
        run_task(p, &t, &v, &d, sums + (s->own_sums ? mine * size : t.chunk * size + t.c * s->sums.pitch));
      }
    }
    if (!s->own_sums) {
#pragma omp for schedule(static)
      for (int64_t c = 0; c < p->x.C; c++) finish_row(p, c, sums);
    }
  }
  fc_workspace_free(&memory);
  return FC_OK;
}

static schedule plan_chunks(const pass *p, schedule s) {
  s.block = max_i64(WINOGRAD_BLOCK_BYTES / (all_points(p) * (s.v.pitch + s.d.pitch) * (int64_t)sizeof(real)), 8);
  s.chunks = min_i64(ceil_div(p->x.tiles, s.block), CHUNKS);
  s.own_values = 1;
  return s;
}

static schedule plan_waves(const pass *p, schedule s) {
  int64_t bytes = all_points(p) * (s.v.pitch + s.d.pitch) * (int64_t)sizeof(real);
  s.wave = s.block = ceil_div(p->x.tiles, ceil_div(p->x.tiles * bytes, WINOGRAD_WEIGHTS_WAVE_BYTES));
  s.points = 1, s.channels = ceil_div(p->x.C, ceil_div(p->x.C, SHARE));
  return s;
}

static schedule plan_parts(const pass *p, schedule s) {
  s.channels = ceil_div(p->x.C, ceil_div(p->x.C, ROW_TILES * tile_height(panel_width(p->dy.C, 0))));
  s.panels = PANELS, s.own_sums = 1;
  s.sums.pitch = (int64_t)(2 * PANELS + 1) * VL;
  s.sums.plane = winograd_plane(s.channels, s.sums.pitch);
  return s;
}

static schedule plan_work(const pass *p) {
  int64_t C = p->x.C, K = p->dy.C, tiles = p->x.tiles;
  schedule s = {.wave = tiles, .block = tiles, .chunks = 1, .points = all_points(p), .channels = C};
  s.panels = panel_count(K);
  s.v.pitch = winograd_pitch(C), s.d.pitch = s.sums.pitch = winograd_pitch(K);
  s.sums.plane = winograd_plane(C, s.sums.pitch);
  int small = all_points(p) * s.sums.plane * (int64_t)sizeof(real) <= WINOGRAD_SUM_BYTES;
  s = small ? plan_chunks(p, s) : tiles * (C + K) > C * K ? plan_waves(p, s) : plan_parts(p, s);
  s.v.plane = winograd_plane(s.block, s.v.pitch), s.d.plane = winograd_plane(s.block, s.d.pitch);
  return s;
}

fc_status FC(winograd_backward_weights)(const fc_conv2d *d, int points, const real *x, const real *dy, real *dw) {
  winograd tiles = {.points = points, .r = (int)d->KH, .OH = d->OH, .OW = d->OW, .K = d->K};
  tiles.in.N = d->N;
  winograd_cover(&tiles);
  if (tiles.tiles == 0) {
    memset(dw, 0, (size_t)(d->KH * d->KW * d->C * d->K) * sizeof(real));
    return FC_OK;
  }
  pass p = {.x = tiles, .dy = tiles, .t = FC(winograd_find)(points, (int)d->KH), .dw = dw};
  p.x.C = d->C, p.x.top = d->PT, p.x.left = d->PL;
  p.x.in = (tap_image){x, d->N, d->H, d->W, d->x_pitch};
  p.dy.C = d->K;
  p.dy.in = (tap_image){dy, d->N, d->OH, d->OW, d->y_pitch};
  p.s = plan_work(&p);
  return run_schedule(&p);
}
