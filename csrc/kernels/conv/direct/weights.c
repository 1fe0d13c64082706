/* Backward weights without a column matrix: dw[band] = sum over output pixels of x[pixel at band]^T dy[pixel], rank-1
 * updates whose operands NHWC already holds contiguously. A band is a tap, or a whole kernel row where that is one run.
 * x (N, H, W, C), dy (N, OH, OW, K), dw (KH, KW, C/G, K). */
#include "taps.h"

enum { BLOCK_PIXELS = 256, TASKS = 16 };

typedef struct {
  const fc_conv2d *d;
  tap_image x, dy;                           /* of this group */
  int64_t bands;                             /* KH * KW taps of Cg rows, or KH kernel rows of KW * C */
  int64_t height;                            /* rows of dw in a band */
  int64_t columns;                           /* kernel columns a band covers: 1 or KW */
  int64_t left;                              /* columns that were added to the left of x */
  int64_t cols;                              /* Kg */
  int pack_x, pack_dy;                       /* tiles of x, panels of dy */
  int64_t chunks, panel_groups, tile_groups; /* of output rows, panels, row tiles: a task is one of each */
  int64_t block, block_in;                   /* output rows that are worked on at a time, input rows they may need */
} weights_plan;

/* A tile's operands in a block: segments[band][..] of one panel width; tile i starts a_step * i after them. */
typedef struct {
  tile_segment *segments; /* [bands][block] */
  int64_t *count;         /* [bands] */
  real *x;                /* [row tile][input row][W][tile rows] */
  real *dy;               /* [output row][OW][width * VL] */
} weights_block;

static int64_t row_tiles(const weights_plan *p, int width) { return ceil_div(p->height, tile_height(width)); }

/* Output positions o of an axis whose input o * stride + offset lies in [0, size): [*low, *high). */
static void reach(int64_t size, int64_t outputs, int64_t stride, int64_t offset, int64_t *low, int64_t *high) {
  *low = offset >= 0 ? 0 : ceil_div(-offset, stride);
  *high = offset >= size ? 0 : min_i64(outputs, (size - 1 - offset) / stride + 1);
}

/* Rows of x, over all images, that output rows first .. last meet: from *low, returns how many. */
static int64_t input_rows(const fc_conv2d *d, int64_t first, int64_t last, int64_t *low) {
  int64_t h = (last - 1) % d->OH * d->SH - d->PT + (d->KH - 1) * d->DH;
  *low = first / d->OH * d->H + min_i64(max_i64(first % d->OH * d->SH - d->PT, 0), d->H - 1);
  return (last - 1) / d->OH * d->H + min_i64(max_i64(h, 0), d->H - 1) + 1 - *low;
}

/* Tiles first .. last of rows low .. low + rows of x -> [row tile][pixel][tile]: every step of a tile reads the next
 * few numbers. */
static void pack_input(const weights_plan *p, int64_t low, int64_t rows, int64_t first, int64_t last, int64_t tile,
                       real *to) {
  int64_t pixels = rows * p->x.W;
  const real *x = p->x.data + low * p->x.W * p->x.pitch;
  for (int64_t j = 0; j < pixels; j++, x += p->x.pitch) /* memory in order, once */
    for (int64_t i = first; i < last; i++) {
      int64_t top = i * tile, n = min_i64(tile, p->height - top);
      for (int64_t c = 0; c < n; c += VL)
        store_n(to + ((i - first) * pixels + j) * tile + c, load_n(x + top + c, min_i64(n - c, VL)),
                min_i64(n - c, VL));
    }
}

/* Rows low .. low + rows of x into L2, in memory's order: the tiles will read them in small pieces. */
static void fetch_input(const weights_plan *p, int64_t low, int64_t rows) {
  const real *x = p->x.data + low * p->x.W * p->x.pitch, *end = x + rows * p->x.W * p->x.pitch;
  for (; x < end; x += CACHE_LINE / (int)sizeof(real)) __builtin_prefetch(x, 0, 2);
}

/* The runs of pixels that each band meets in output rows first .. last. Element (row, w) of x lies at
 * x + (row * W + w) * x_pitch, pixel i of the block at dy + i * dy_pitch. */
static void find_segments(const weights_plan *p, int64_t first, int64_t last, const real *x, int64_t x_pitch,
                          const real *dy, int64_t dy_pitch, const weights_block *b) {
  const fc_conv2d *d = p->d;
  for (int64_t band = 0; band < p->bands; band++) {
    int64_t kh = band * p->columns / d->KW, kw = band * p->columns % d->KW, count = 0, low, high;
    int64_t left = kw * d->DW - d->PL + p->left;
    tile_segment *s = b->segments + band * p->block;
    reach(p->x.W - (p->columns - 1), d->OW, d->SW, left, &low, &high);
    for (int64_t row = first; row < last && low < high; row++) {
      int64_t h = row % d->OH * d->SH - d->PT + kh * d->DH;
      if (h < 0 || h >= d->H) continue;
      s[count].a = x + ((row / d->OH * d->H + h) * p->x.W + low * d->SW + left) * x_pitch;
      s[count].b = dy + ((row - first) * d->OW + low) * dy_pitch;
      s[count++].steps = high - low;
    }
    b->count[band] = count;
  }
}

/* Row tiles first .. last of one panel in every band, over output rows row .. stop. */
static void run_panel(const weights_plan *p, int64_t panel, int64_t first, int64_t last, int64_t row, int64_t stop,
                      int repack, const real *zeros, const weights_block *b, int accumulate, real *dw) {
  const fc_conv2d *d = p->d;
  int width = panel_width(p->cols, panel);
  int64_t start = panel_start(panel), full = (int64_t)width * VL, tiles = row_tiles(p, width), low;
  int64_t tile = ceil_div(p->height, tiles), rows = input_rows(d, row, stop, &low), K = d->K;
  int64_t x_pitch = p->pack_x ? tile : p->x.pitch, dy_pitch = p->pack_dy ? full : p->dy.pitch;
  const real *x = p->pack_x ? b->x - low * p->x.W * tile : p->x.data;
  const real *dy = p->dy.data + row * d->OW * p->dy.pitch + start;
  tile_output out = {.cols = min_i64(p->cols - start, full), .accumulate = accumulate, .bias = zeros};
  if (repack && p->pack_x) pack_input(p, low, rows, first, last, tile, b->x);
  if (p->pack_dy) FC(pack_panel)((stop - row) * d->OW, out.cols, dy, p->dy.pitch, 1, full, b->dy);
  if (repack && !p->pack_x && p->columns == 1) fetch_input(p, low, rows);
  find_segments(p, row, stop, x, x_pitch, p->pack_dy ? b->dy : dy, dy_pitch, b);
  for (int64_t i = first; i < last; i++) {
    int64_t top = i * tile, mr = min_i64(tile, p->height - top);
    int64_t a_first = p->pack_x ? (i - first) * rows * p->x.W * tile : top;
    for (int64_t band = 0; band < p->bands; band++) FC(tile_outer)
    [width - 1][mr - 1](b->count[band], b->segments + band *p->block, a_first, d->SW *x_pitch, 0, dy_pitch,
                        dw + (band *p->height + top) *K + start, K, &out);
  }
}

/* A group's tiles over output rows begin .. end, into dw (bands * height, K). */
static void run_task(const weights_plan *p, int64_t group, int64_t begin, int64_t end, const real *zeros,
                     const weights_block *b, real *dw) {
  int64_t by_panel = group / p->tile_groups, by_tile = group % p->tile_groups, panels = panel_count(p->cols);
  int64_t first = panels * by_panel / p->panel_groups, last = panels * (by_panel + 1) / p->panel_groups;
  for (int64_t row = begin; row < end; row += p->block) {
    int packed = 0; /* the panel width that x was packed for */
    for (int64_t panel = first; panel < last; panel++) {
      int width = panel_width(p->cols, panel);
      int64_t tiles = row_tiles(p, width);
      run_panel(p, panel, tiles * by_tile / p->tile_groups, tiles * (by_tile + 1) / p->tile_groups, row,
                min_i64(end, row + p->block), width != packed, zeros, b, row > begin, dw);
      packed = width;
    }
  }
}

static void plan_work(weights_plan *p) {
  const fc_conv2d *d = p->d;
  int64_t rows = d->N * d->OH, panels = panel_count(p->cols), low;
  int64_t tiles = min_i64(row_tiles(p, panel_width(p->cols, 0)), row_tiles(p, panel_width(p->cols, panels - 1)));
  /* Chunks of pixels where the data outweighs dw (each pays a copy of dw), groups of tiles where dw is large: cut along
   * the longer side of dw, as every group packs the whole of the other operand. */
  int64_t SH = min_i64(d->SH, d->H); /* input rows from one output row on */
  int64_t weights = p->bands * p->height * d->K, data = rows * (p->x.W * SH * p->x.pitch + d->OW * p->dy.pitch);
  p->chunks = min_i64(max_i64(1, data / (2 * weights)), min_i64(TASKS, rows));
  int64_t groups = ceil_div(TASKS, p->chunks);
  p->panel_groups = min_i64(p->height > p->cols ? ceil_div(groups, tiles) : groups, panels);
  p->tile_groups = min_i64(ceil_div(groups, p->panel_groups), tiles);
  p->pack_x = p->columns == 1 && panels > 1;
  p->pack_dy = p->cols % VL || panels > 1;
  int64_t channels = p->pack_x ? ceil_div(p->height, p->tile_groups) : p->x.pitch;
  int64_t row_bytes = p->x.W * SH * channels * (int64_t)sizeof(real);
  p->block = max_i64(1, min_i64(WEIGHTS_BYTES / row_bytes, BLOCK_PIXELS / d->OW));
  for (int64_t chunk = 0; chunk < p->chunks; chunk++)
    for (int64_t row = rows * chunk / p->chunks, end = rows * (chunk + 1) / p->chunks; row < end; row += p->block)
      p->block_in = max_i64(p->block_in, input_rows(d, row, min_i64(row + p->block, end), &low));
}

/* dw = sum of the chunks' partial results, in order; partial (chunks, rows, K), columns of this group only */
static void add_chunks(const weights_plan *p, const real *partial, real *dw) {
  int64_t rows = p->bands * p->height, K = p->d->K;
#pragma omp parallel for num_threads(fc_threads_for(p->chunks * rows * p->cols)) schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t chunk = 0; chunk < p->chunks; chunk++)
      for (int64_t k = 0; k < p->cols; k++) {
        real value = partial[(chunk * rows + r) * K + k];
        dw[r * K + k] = chunk ? dw[r * K + k] + value : value;
      }
}

static fc_status run_plan(const weights_plan *p, real *dw) {
  const fc_conv2d *d = p->d;
  int64_t rows = d->N * d->OH, size = p->bands * p->height * d->K, groups = p->panel_groups * p->tile_groups;
  int64_t threads = fc_threads_for_macs(rows * d->OW * p->bands * p->height * p->cols);
  int64_t x_size = p->pack_x ? p->block_in * p->x.W * (ceil_div(p->height, p->tile_groups) + 2 * HEIGHTS_MAX) : 0;
  int64_t dy_size = p->pack_dy ? p->block * d->OW * NV_MAX * VL : 0;
  real *partial = p->chunks > 1 ? fc_alloc((size_t)(p->chunks * size) * sizeof(real)) : dw;
  real *scratch = fc_alloc((size_t)(NV_MAX * VL + threads * (x_size + dy_size)) * sizeof(real));
  tile_segment *segments = fc_alloc((size_t)(threads * p->bands * p->block) * sizeof(tile_segment));
  int64_t *count = fc_alloc((size_t)(threads * p->bands) * sizeof(int64_t));
  fc_status status = partial && scratch && segments && count ? FC_OK : FC_NO_MEMORY;
  if (status == FC_OK) {
    memset(scratch, 0, (size_t)(NV_MAX * VL) * sizeof(real)); /* the bias */
#pragma omp parallel num_threads(threads)
    {
      int mine = fc_thread_number();
      real *own = scratch + NV_MAX * VL + mine * (x_size + dy_size);
      weights_block b = {segments + mine * p->bands * p->block, count + mine * p->bands, own, own + x_size};
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < p->chunks * groups; task++) {
        int64_t chunk = task / groups;
        run_task(p, task % groups, rows * chunk / p->chunks, rows * (chunk + 1) / p->chunks, scratch, &b,
                 partial + (p->chunks > 1 ? chunk * size : 0));
      }
    }
    if (p->chunks > 1) add_chunks(p, partial, dw);
  }
  if (p->chunks > 1) fc_free(partial);
  fc_free(scratch);
  fc_free(segments);
  fc_free(count);
  return status;
}

static fc_status group_weights(const fc_conv2d *d, int64_t g, const real *x, const real *dy, real *dw) {
  int64_t Cg = d->C / d->G, Kg = d->K / d->G;
  int64_t right = max_i64(0, (d->OW - 1) * d->SW - d->PL + d->KW - d->W);
  weights_plan p = {.d = d, .cols = Kg, .bands = d->KH * d->KW, .height = Cg, .columns = 1};
  p.x = (tap_image){x + g * Cg, d->N, d->H, d->W, d->x_pitch};
  p.dy = (tap_image){dy + g * Kg, d->N, d->OH, d->OW, d->y_pitch};
  real *wide = NULL;
  fc_status status = FC_OK;
  int one_run = d->DW == 1 && d->G == 1 && d->x_pitch == d->C;
  if (one_run && ((d->PL == 0 && right == 0) || d->C <= 8)) { /* kernel rows as bands */
    if (d->PL || right) {
      wide = FC(pad_columns)(&p.x, d->C, d->PL, right);
      if (!wide) status = FC_NO_MEMORY;
      p.x.data = wide, p.x.W += d->PL + right, p.left = d->PL;
    }
    p.bands = d->KH, p.height = d->KW * d->C, p.columns = d->KW;
  }
  if (status == FC_OK) {
    plan_work(&p);
    status = run_plan(&p, dw + g * Kg);
  }
  fc_free(wide);
  return status;
}

fc_status FC(conv2d_backward_weights_implicit_gemm)(const fc_conv2d *d, const void *x, const void *dy, void *dw) {
  if (d->N == 0) {
    memset(dw, 0, (size_t)(d->KH * d->KW * d->C / d->G * d->K) * sizeof(real));
    return FC_OK;
  }
  if (FC(few_filters)(d)) return FC(few_filters_weights)(d, x, dy, dw);
  fc_status status = FC_OK;
  for (int64_t g = 0; g < d->G && status == FC_OK; g++) status = group_weights(d, g, x, dy, dw);
  return status;
}
