/* Backward weights without a column matrix: dw[band] = sum over output pixels of x[pixel at band]^T dy[pixel], rank-1
 * updates whose operands NHWC already holds contiguously. A band is a tap, or a whole kernel row where that is one run.
 *
 *      dw        panel group 0   1                      output rows of all images
 *             +-------+-------+                         | chunk 0 | chunk 1 | ...
 *      band 0 | 0,0   | 0,1   |  tile group 0
 *             | 1,0   | 1,1   |  tile group 1           A task is a part of dw, here one of 2 x 2 (in every band),
 *             +-------+-------+                         and a chunk of rows. Much data is cut into chunks, each with a
 *      band 1 | 0,0   | 0,1   |                         copy of dw that is added up at the end, a large dw into parts.
 *             | 1,0   | 1,1   |
 *             +-------+-------+
 *
 * x (N, H, W, C), dy (N, OH, OW, K), dw (KH, KW, C/G, K). */
#include "weights.h"

enum { BLOCK_PIXELS = 256, TASKS = 16 };

static weights_rows rows_of_chunk(const weights_plan *p, int64_t chunk) {
  int64_t rows = p->d->N * p->d->OH;
  return (weights_rows){rows * chunk / p->chunks, rows * (chunk + 1) / p->chunks};
}

static void plan_work(weights_plan *p) {
  const fc_conv2d *d = p->d;
  int64_t rows = d->N * d->OH, panels = panel_count(p->cols);
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
  for (int64_t chunk = 0; chunk < p->chunks; chunk++) {
    weights_rows all = rows_of_chunk(p, chunk);
    for (int64_t row = all.begin; row < all.end; row += p->block) {
      weights_rows in = FC(weights_input_rows)(d, (weights_rows){row, min_i64(row + p->block, all.end)});
      p->block_in = max_i64(p->block_in, in.end - in.begin);
    }
  }
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
  int64_t size = p->bands * p->height * d->K, groups = p->panel_groups * p->tile_groups;
  int64_t threads = fc_threads_for_macs(d->N * d->OH * d->OW * p->bands * p->height * p->cols);
  int64_t x_size = p->pack_x ? p->block_in * p->x.W * (ceil_div(p->height, p->tile_groups) + 2 * HEIGHTS_MAX) : 0;
  int64_t dy_size = p->pack_dy ? p->block * d->OW * NV_MAX * VL : 0;
  fc_workspace memory = {0};
  real *partial, *zeros, *packed;
  tile_segment *segments;
  int64_t *count;
  FC_PART(&memory, zeros, NV_MAX * VL);
  FC_PART(&memory, packed, threads * (x_size + dy_size));
  FC_PART(&memory, segments, threads * p->bands * p->block);
  FC_PART(&memory, count, threads * p->bands);
  FC_PART(&memory, partial, p->chunks > 1 ? p->chunks * size : 0);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  memset(zeros, 0, (size_t)(NV_MAX * VL) * sizeof(real));
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    real *own = packed + mine * (x_size + dy_size);
    weights_scratch s = {zeros, segments + mine * p->bands * p->block, count + mine * p->bands, own, own + x_size};
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < p->chunks * groups; task++) {
      int64_t chunk = task / groups;
      FC(run_weights_task)(p, task % groups, rows_of_chunk(p, chunk), &s, p->chunks > 1 ? partial + chunk * size : dw);
    }
  }
  if (p->chunks > 1) add_chunks(p, partial, dw);
  fc_workspace_free(&memory);
  return FC_OK;
}

static fc_status group_weights(const fc_conv2d *d, int64_t g, const real *x, const real *dy, real *dw) {
  int64_t Cg = d->C / d->G, Kg = d->K / d->G;
  int64_t right = max_i64(0, (d->OW - 1) * d->SW - d->PL + d->KW - d->W);
  weights_plan p = {.d = d, .cols = Kg, .bands = d->KH * d->KW, .height = Cg, .columns = 1};
  p.x = (tap_image){x + g * Cg, d->N, d->H, d->W, d->x_pitch};
  p.dy = (tap_image){dy + g * Kg, d->N, d->OH, d->OW, d->y_pitch};
  real *wide = NULL;
  int one_run = d->DW == 1 && d->G == 1 && d->x_pitch == d->C;
  if (one_run && ((d->PL == 0 && right == 0) || d->C <= 8)) { /* kernel rows as bands */
    if (d->PL || right) {
      wide = FC(pad_columns)(&p.x, d->C, d->PL, right);
      if (!wide) return FC_NO_MEMORY;
      p.x.data = wide, p.x.W += d->PL + right, p.left = d->PL;
    }
    p.bands = d->KH, p.height = d->KW * d->C, p.columns = d->KW;
  }
  plan_work(&p);
  fc_status status = run_plan(&p, dw + g * Kg);
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
