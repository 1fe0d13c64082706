/* One task of backward weights: rank-1 updates of a part of dw, a block of output rows at a time.
 *
 *              panel of dy                    For a block that fits L2, each panel of dy (packed, if it is not one
 *             [k k k k k k]   pixel 0         run already) meets each tile of x in every band:
 *             [k k k k k k]   pixel 1
 *      c c c                                  dw[band][c][k] += x[pixel at band][c] dy[pixel][k]
 *      c c c  +-----------+
 *      c c c  | tile of   |                   Tiles of x are packed once for all panels of one width.
 *      pixels |  dw[band] |
 *        0 1  +-----------+
 *
 * x (N, H, W, C), dy (N, OH, OW, K), dw (bands * height, K). */
#include "weights.h"

/* Tiles of a panel: row tiles first .. last - 1. */
typedef struct {
  int64_t panel, first, last;
} weights_part;

/* The tiles' part of some rows of x -> [row tile][pixel][tile]: every step of a tile reads the next few numbers. */
static void pack_input(const weights_plan *p, weights_rows rows, const weights_part *part, int64_t tile, real *to) {
  int64_t pixels = (rows.end - rows.begin) * p->x.W;
  const real *x = p->x.data + rows.begin * p->x.W * p->x.pitch;
  for (int64_t j = 0; j < pixels; j++, x += p->x.pitch) /* memory in order, once */
    for (int64_t i = part->first; i < part->last; i++) {
      int64_t top = i * tile, n = min_i64(tile, p->height - top);
      for (int64_t c = 0; c < n; c += VL)
        store_n(to + ((i - part->first) * pixels + j) * tile + c, load_n(x + top + c, min_i64(n - c, VL)),
                min_i64(n - c, VL));
    }
}

/* Some rows of x into L2, in memory's order: the tiles will read them in small pieces. */
static void fetch_input(const weights_plan *p, weights_rows rows) {
  const real *x = p->x.data + rows.begin * p->x.W * p->x.pitch;
  const real *end = p->x.data + rows.end * p->x.W * p->x.pitch;
  for (; x < end; x += CACHE_LINE / (int)sizeof(real)) __builtin_prefetch(x, 0, 2);
}

/* The part's tiles in every band, over some output rows. repack: x was packed for tiles of another height. */
static void run_panel(const weights_plan *p, const weights_part *part, weights_rows rows, int repack,
                      const weights_scratch *s, int accumulate, real *dw) {
  const fc_conv2d *d = p->d;
  int width = panel_width(p->cols, part->panel);
  int64_t start = panel_start(part->panel), full = (int64_t)width * VL;
  int64_t tile = ceil_div(p->height, row_tiles(p, width)), K = d->K;
  weights_rows in = FC(weights_input_rows)(d, rows);
  const real *dy = p->dy.data + rows.begin * d->OW * p->dy.pitch + start;
  weights_operands from = {p->pack_x ? s->x - in.begin * p->x.W * tile : p->x.data, p->pack_dy ? s->dy : dy,
                           p->pack_x ? tile : p->x.pitch, p->pack_dy ? full : p->dy.pitch};
  tile_output out = {.cols = min_i64(p->cols - start, full), .accumulate = accumulate, .bias = s->zeros};
  if (repack && p->pack_x) pack_input(p, in, part, tile, s->x);
  if (p->pack_dy) FC(pack_panel)((rows.end - rows.begin) * d->OW, out.cols, dy, p->dy.pitch, 1, full, s->dy);
  if (repack && !p->pack_x && p->columns == 1) fetch_input(p, in);
  FC(find_weights_runs)(p, rows, &from, s);
  tile_operands operands = {.a_step = d->SW * from.x_pitch, .b_step = from.dy_pitch};
  for (int64_t i = part->first; i < part->last; i++) {
    int64_t top = i * tile, mr = min_i64(tile, p->height - top);
    tile_outer_fn *update = FC(tile_outer)[width - 1][mr - 1];
    operands.a_first = p->pack_x ? (i - part->first) * (in.end - in.begin) * p->x.W * tile : top;
    for (int64_t band = 0; band < p->bands; band++) {
      operands.segments = s->segments + band * p->block, operands.count = s->count[band];
      update(&operands, dw + (band * p->height + top) * K + start, K, &out);
    }
  }
}

void FC(run_weights_task)(const weights_plan *p, int64_t group, weights_rows rows, const weights_scratch *s, real *dw) {
  int64_t by_panel = group / p->tile_groups, by_tile = group % p->tile_groups, panels = panel_count(p->cols);
  int64_t first = panels * by_panel / p->panel_groups, last = panels * (by_panel + 1) / p->panel_groups;
  for (int64_t row = rows.begin; row < rows.end; row += p->block) {
    weights_rows block = {row, min_i64(rows.end, row + p->block)};
    int packed = 0; /* the panel width that x was packed for */
    for (int64_t panel = first; panel < last; panel++) {
      int width = panel_width(p->cols, panel);
      int64_t tiles = row_tiles(p, width);
      weights_part part = {panel, tiles * by_tile / p->tile_groups, tiles * (by_tile + 1) / p->tile_groups};
      run_panel(p, &part, block, width != packed, s, row > rows.begin, dw);
      packed = width;
    }
  }
}
