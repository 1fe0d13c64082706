/* Backward weights by Winograd's filtering: input tiles and dy tiles become values at the points, their products summed
 * over all tiles are the gradient's values there. x (N, H, W, C), dy (N, OH, OW, K), dw (r, r, C, K). */
#include "winograd.h"

enum {
  CHUNKS = 16,   /* sums in all, if they are that small: fixed, so that threads change no bit */
  SHARE = 224,   /* channels of a task: whole register tiles on every instruction set */
  ROW_TILES = 2, /* or a part of dw whose sums stay in L2: register tiles of channels */
  PANELS = 4     /* and panels of columns */
};

typedef struct {
  winograd x, dy; /* tiles of both, the same ones */
  const winograd_transforms *t;
  real *zero;
  int threads;
} job;

/* sum[xi] (channels, columns of panels first .. last) (+)= v[xi]^T d[xi] for channels c .. c + channels */
static void add_products(const job *j, int64_t xi, int64_t c, int64_t channels, int64_t first, int64_t last,
                         int64_t tiles, const winograd_values *v, const winograd_values *d, const winograd_values *sum,
                         int accumulate) {
  int64_t K = j->dy.C;
  tile_segment s = {v->data + xi * v->plane, d->data + xi * d->plane, tiles};
  tile_output out = {.accumulate = accumulate, .bias = j->zero};
  for (int64_t panel = first; panel < last; panel++) {
    int64_t start = panel_start(panel);
    int width = panel_width(K, panel);
    int64_t height = even_height(channels, width);
    real *to = sum->data + xi * sum->plane + start - panel_start(first);
    out.cols = (int64_t)width * VL;
    for (int64_t i = 0; i < channels; i += height) {
      tile_outer_fn *update = FC(tile_outer)[width - 1][min_i64(channels - i, height) - 1];
      update(1, &s, c + i, v->pitch, start, d->pitch, to + i * sum->pitch, sum->pitch, &out);
    }
  }
}

static void gather(const job *j, int64_t first, int64_t tiles, const winograd_values *v, const winograd_values *d) {
  j->t->input(&j->x, first, tiles, j->zero, v);
  j->t->gradient(&j->dy, first, tiles, j->zero, d);
}

/* Small sums: a thread takes a chunk of the tiles, block by block, and adds to a sum that stays in its L2. */
static fc_status run_chunks(const job *j, winograd_values v, winograd_values d, winograd_values sum, real *dw) {
  int64_t tiles = j->x.tiles, square = j->x.points * j->x.points, C = j->x.C, K = j->dy.C, panels = panel_count(K);
  int64_t step = max_i64(WINOGRAD_BLOCK_BYTES / (square * (v.pitch + d.pitch) * (int64_t)sizeof(real)), 8);
  int64_t chunks = min_i64(ceil_div(tiles, step), CHUNKS);
  v.plane = winograd_plane(step, v.pitch), d.plane = winograd_plane(step, d.pitch);
  int64_t each = square * (v.plane + d.plane), size = square * sum.plane;
  real *values = fc_alloc((size_t)(j->threads * each) * sizeof(real));
  real *sums = fc_alloc((size_t)(chunks * size) * sizeof(real));
  fc_status status = values && sums ? FC_OK : FC_NO_MEMORY;
  if (status == FC_OK) {
#pragma omp parallel num_threads(j->threads)
    {
      int mine = fc_thread_number();
      winograd_values from = v, with = d, to = sum;
      from.data = values + mine * each, with.data = from.data + square * v.plane;
#pragma omp for schedule(dynamic)
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t start = tiles * chunk / chunks, end = tiles * (chunk + 1) / chunks;
        to.data = sums + chunk * size;
        for (int64_t first = start; first < end; first += step) {
          int64_t count = min_i64(end - first, step);
          gather(j, first, count, &from, &with);
          for (int64_t xi = 0; xi < square; xi++)
            add_products(j, xi, 0, C, 0, panels, count, &from, &with, &to, first > start);
        }
      }
#pragma omp for schedule(static)
      for (int64_t c = 0; c < C; c++) {
        for (int64_t chunk = 1; chunk < chunks; chunk++)
          for (int64_t xi = 0; xi < square; xi++) {
            real *into = sums + xi * sum.plane + c * sum.pitch;
            for (int64_t k = 0; k < padded_cols(K); k += VL)
              store(into + k, load(into + k) + load(into + chunk * size + k));
          }
        j->t->dw(&j->x, sums + c * sum.pitch, sum.plane, K, dw + c * K, K);
      }
    }
  }
  fc_free(values);
  fc_free(sums);
  return status;
}

/* Inside a parallel region: the values of count tiles, shared by all threads. */
static void gather_shared(const job *j, int64_t first, int64_t count, const winograd_values *v,
                          const winograd_values *d) {
#pragma omp for schedule(dynamic, 4)
  for (int64_t t = 0; t < count; t++) {
    winograd_values from = {v->data + t * v->pitch, v->pitch, v->plane},
                    with = {d->data + t * d->pitch, d->pitch, d->plane};
    gather(j, first + t, 1, &from, &with);
  }
}

/* Large sums of many tiles: all threads transform some tiles, then share the points and channels. */
static fc_status run_waves(const job *j, winograd_values v, winograd_values d, winograd_values sum, real *dw) {
  int64_t tiles = j->x.tiles, square = j->x.points * j->x.points, C = j->x.C, K = j->dy.C;
  int64_t share = ceil_div(C, ceil_div(C, SHARE)), shares = ceil_div(C, share);
  int64_t waves = ceil_div(tiles * square * (v.pitch + d.pitch) * (int64_t)sizeof(real), WINOGRAD_WEIGHTS_WAVE_BYTES);
  int64_t step = ceil_div(tiles, waves);
  v.plane = winograd_plane(step, v.pitch), d.plane = winograd_plane(step, d.pitch);
  v.data = fc_alloc((size_t)(square * v.plane) * sizeof(real));
  d.data = fc_alloc((size_t)(square * d.plane) * sizeof(real));
  sum.data = fc_alloc((size_t)(square * sum.plane) * sizeof(real));
  fc_status status = v.data && d.data && sum.data ? FC_OK : FC_NO_MEMORY;
  for (int64_t first = 0; first < tiles && status == FC_OK; first += step) {
    int64_t count = min_i64(tiles - first, step);
#pragma omp parallel num_threads(j->threads)
    {
      gather_shared(j, first, count, &v, &d);
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < square * shares; task++) {
        int64_t c = task % shares * share;
        winograd_values to = {sum.data + c * sum.pitch, sum.pitch, sum.plane};
        add_products(j, task / shares, c, min_i64(C - c, share), 0, panel_count(K), count, &v, &d, &to, first > 0);
      }
    }
  }
  if (status == FC_OK) {
#pragma omp parallel for num_threads(j->threads) schedule(static)
    for (int64_t c = 0; c < C; c++) j->t->dw(&j->x, sum.data + c * sum.pitch, sum.plane, K, dw + c * K, K);
  }
  fc_free(v.data);
  fc_free(d.data);
  fc_free(sum.data);
  return status;
}

/* Sums larger than the values of all tiles: a task takes a part of dw through all points, its sums stay in L2. */
static fc_status run_parts(const job *j, winograd_values v, winograd_values d, real *dw) {
  int64_t tiles = j->x.tiles, square = j->x.points * j->x.points, C = j->x.C, K = j->dy.C, panels = panel_count(K);
  int64_t parts = ceil_div(C, ROW_TILES * tile_height(panel_width(K, 0))), share = ceil_div(C, parts);
  winograd_values sum = {.pitch = (int64_t)(2 * PANELS + 1) * VL};
  v.plane = winograd_plane(tiles, v.pitch), d.plane = winograd_plane(tiles, d.pitch);
  sum.plane = winograd_plane(share, sum.pitch);
  v.data = fc_alloc((size_t)(square * v.plane) * sizeof(real));
  d.data = fc_alloc((size_t)(square * d.plane) * sizeof(real));
  sum.data = fc_alloc((size_t)(j->threads * square * sum.plane) * sizeof(real));
  fc_status status = v.data && d.data && sum.data ? FC_OK : FC_NO_MEMORY;
  if (status == FC_OK) {
#pragma omp parallel num_threads(j->threads)
    {
      int mine = fc_thread_number();
      winograd_values to = {sum.data + mine * square * sum.plane, sum.pitch, sum.plane};
      gather_shared(j, 0, tiles, &v, &d);
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < parts * ceil_div(panels, PANELS); task++) {
        int64_t c = task % parts * share, channels = min_i64(C - c, share);
        int64_t first = task / parts * PANELS, last = min_i64(first + PANELS, panels), start = panel_start(first);
        int64_t cols = (last == panels ? K : panel_start(last)) - start;
        for (int64_t xi = 0; xi < square; xi++) add_products(j, xi, c, channels, first, last, tiles, &v, &d, &to, 0);
        for (int64_t i = 0; i < channels; i++)
          j->t->dw(&j->x, to.data + i * to.pitch, to.plane, cols, dw + (c + i) * K + start, K);
      }
    }
  }
  fc_free(v.data);
  fc_free(d.data);
  fc_free(sum.data);
  return status;
}

fc_status FC(winograd_backward_weights)(const fc_conv2d *d, int points, const real *x, const real *dy, real *dw) {
  winograd tiles = {.points = points, .r = (int)d->KH, .OH = d->OH, .OW = d->OW, .K = d->K};
  tiles.in.N = d->N;
  winograd_cover(&tiles);
  if (tiles.tiles == 0) {
    memset(dw, 0, (size_t)(d->KH * d->KW * d->C * d->K) * sizeof(real));
    return FC_OK;
  }
  job j = {.x = tiles, .dy = tiles, .t = FC(winograd_find)(points, (int)d->KH)};
  j.x.C = d->C, j.x.top = d->PT, j.x.left = d->PL;
  j.x.in = (tap_image){x, d->N, d->H, d->W, d->x_pitch};
  j.dy.C = d->K;
  j.dy.in = (tap_image){dy, d->N, d->OH, d->OW, d->y_pitch};
  j.threads = fc_threads_for_macs(points * points * tiles.tiles * d->C * d->K);
  j.zero = winograd_zeros(d->C, d->K);
  if (!j.zero) return FC_NO_MEMORY;
  winograd_values from = {.pitch = winograd_pitch(d->C)}, with = {.pitch = winograd_pitch(d->K)}, sum = with;
  sum.plane = winograd_plane(d->C, sum.pitch);
  fc_status status;
  if (points * points * sum.plane * (int64_t)sizeof(real) <= WINOGRAD_SUM_BYTES)
    status = run_chunks(&j, from, with, sum, dw);
  else if (tiles.tiles * (d->C + d->K) > d->C * d->K)
    status = run_waves(&j, from, with, sum, dw);
  else
    status = run_parts(&j, from, with, dw);
  fc_free(j.zero);
  return status;
}
