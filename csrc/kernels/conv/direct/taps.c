/* The engine of implicit GEMM: output pixels times filters, the input read in place.
 *
 *                     panels of filters, packed                      A task takes a block of pixels past all panels:
 *                     +------+------+------+                         its input stays in L2, the weights stream past.
 *                     |  0   |  1   |  2   |  taps x depth           Where the weights outweigh the data a task is
 *                     +------+------+------+                         one panel against a block, packed by itself.
 *            +-----+  +------+------+------+
 *    block 0 |     |  | tile | tile | tile |
 *            |     |  | tile | tile | tile |  pixels of the grid
 *            +-----+  +------+------+------+
 *    block 1 |     |  |      |      |      |
 *            +-----+  +------+------+------+
 *         taps x depth         out
 *
 * In (N, H, W, pitch), weights (taps, depth, cols), out: the grid's pixels of (N, out_h, out_w, out_pitch). */
#include "taps_table.h"

enum { MOST_PIXELS = 224, LEAST_TASKS = 32 };

/* Rows of a tile: the most there are registers for, or a little less where tiles then begin and end with grid rows. */
static int aligned_height(int64_t GW, int most) {
  for (int height = most; height > most * 6 / 7; height--)
    if (GW % height == 0 || height % GW == 0) return height;
  return most;
}

/* The taps that some pixel of a tile needs. */
FC_INLINE tap_span tile_span(const tap_span *spans, int mr) {
  tap_span all = {INT64_MAX, 0};
  for (int r = 0; r < mr; r++) {
    if (spans[r].last == 0) continue;
    all.first = min_i64(all.first, spans[r].first), all.last = max_i64(all.last, spans[r].last);
  }
  return all.last ? all : (tap_span){0, 0};
}

/* Panels first .. last - 1 of the weights, packed one after the other, against the count pixels of a table. An output
 * that no cache keeps goes past them. */
static FC_NOINLINE void run_block(const tap_product *p, int64_t first, int64_t last, const real *packed,
                                  const tap_table *pixels, int64_t count) {
  int64_t stride = pixels->pixels;
  const real *const *table = pixels->tap;
  int large =
      p->out_pitch * (int64_t)sizeof(real) % CACHE_LINE == 0 && goes_past(p->out, p->in.N * p->GH * p->GW * p->cols);
  /* The first panel meets pixels that no cache holds yet; two tiles of them must fit into the sets they fall into. */
  int fresh = p->taps == 1 && p->depth >= 4 * VL && p->in.pitch * (int64_t)sizeof(real) % (CACHE_WAY / 2);
  for (int64_t panel = first; panel < last; panel++) {
    int64_t start = panel_start(panel);
    int width = panel_width(p->cols, panel), height = aligned_height(p->GW, tile_height(width));
    tile_output output = p->output;
    output.past = large && width * FC_VEC_BYTES % CACHE_LINE == 0;
    output.cols = min_i64(p->cols - start, (int64_t)width * VL);
    output.bias += start;
    if (output.slope) output.slope += start;
    for (int64_t i = 0; i < count; i += height) {
      int mr = (int)min_i64(count - i, height);
      tap_span span = tile_span(pixels->span + i, mr);
      real *to[MR_MAX];
      for (int r = 0; r < mr; r++) to[r] = pixels->out[i + r] + start;
      int fetch = fresh && panel == first && i + 2 * height <= count ? height : 0;
      tile_rows_fn *multiply = FC(tile_rows)[width - 1][mr - 1];
      multiply(span.last - span.first, p->depth, table + span.first * stride + i, stride, fetch,
               packed + span.first * p->depth * width * VL, to, &output);
    }
    packed += p->taps * p->depth * width * VL;
  }
}

/* packed [taps * depth][width * VL] */
static void pack_weights(const tap_product *p, int64_t panel, real *packed) {
  const tap_weights *w = &p->weights;
  int64_t start = panel_start(panel), full = (int64_t)panel_width(p->cols, panel) * VL;
  for (int64_t t = 0; t < w->taps; t++)
    FC(pack_panel)(w->depth, min_i64(p->cols - start, full), w->tap[t] + start * w->col, w->row, w->col, full,
                   packed + t * w->depth * full);
}

/* How the work is cut, by the shape alone. */
typedef struct {
  int64_t pixels, step, blocks, panels;
  int by_panel; /* a task is one panel against a block, not all of them */
} tap_plan;

static tap_plan plan_work(const tap_product *p) {
  int64_t mr = aligned_height(p->GW, tile_height(panel_width(p->cols, 0)));
  tap_plan plan = {.pixels = p->in.N * p->GH * p->GW, .panels = panel_count(p->cols)};
  int64_t input = p->in.N * p->in.H * p->in.W * p->weights.depth, weights = p->taps * p->depth * p->cols;
  plan.by_panel = plan.panels > 1 && weights > input + plan.pixels * p->cols;
  int64_t apart = min_i64(p->step_h, p->in.H) * min_i64(p->step_w, p->in.W); /* input pixels from one grid pixel on */
  int64_t most = TAPS_BYTES / (p->in.pitch * apart * (int64_t)sizeof(real));
  if (!plan.by_panel) most = min_i64(most, MOST_PIXELS);
  most = min_i64(most, ceil_div(plan.pixels, plan.by_panel ? ceil_div(LEAST_TASKS, plan.panels) : LEAST_TASKS));
  plan.step = max_i64(1, ceil_div(most, mr)) * mr;
  plan.blocks = ceil_div(plan.pixels, plan.step);
  return plan;
}

static void run_task(const tap_product *p, const tap_plan *plan, int64_t task, const tap_table *table, real *packed) {
  int64_t panel = plan->by_panel ? task % plan->panels : 0, block = plan->by_panel ? task / plan->panels : task;
  int64_t first = block * plan->step, count = min_i64(plan->step, plan->pixels - first);
  FC(fill_tap_table)(p, first, count, table);
  if (plan->by_panel) pack_weights(p, panel, packed);
  run_block(p, panel, plan->by_panel ? panel + 1 : plan->panels, packed, table, count);
  stream_fence();
}

static fc_status run_plan(const tap_product *p, const tap_plan *plan) {
  int64_t tasks = plan->blocks * (plan->by_panel ? plan->panels : 1);
  int64_t threads = fc_threads_for_macs(plan->pixels * p->cols * (p->taps * p->depth + 1));
  int64_t weights = p->taps * p->depth * (plan->by_panel ? NV_MAX * VL : padded_cols(p->cols));
  int64_t pointers = plan->step * p->taps;
  fc_workspace memory = {0};
  const real **taps;
  real **out, *zero, *packed;
  tap_columns *columns;
  tap_span *spans;
  FC_PART(&memory, packed, (plan->by_panel ? threads : 1) * weights);
  FC_PART(&memory, taps, threads * pointers);
  FC_PART(&memory, out, threads * plan->step);
  FC_PART(&memory, spans, threads * plan->step);
  FC_PART(&memory, columns, p->taps);
  FC_PART(&memory, zero, p->depth);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  memset(zero, 0, (size_t)p->depth * sizeof(real));
  FC(find_tap_columns)(p, columns);
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    tap_table table = {.columns = columns, .zero = zero, .pixels = plan->step};
    table.tap = taps + mine * pointers, table.out = out + mine * plan->step, table.span = spans + mine * plan->step;
    if (!plan->by_panel) {
#pragma omp for schedule(static)
      for (int64_t panel = 0; panel < plan->panels; panel++)
        pack_weights(p, panel, packed + panel_start(panel) * p->taps * p->depth);
    }
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++)
      run_task(p, plan, task, &table, packed + (plan->by_panel ? mine * weights : 0));
  }
  fc_workspace_free(&memory);
  return FC_OK;
}

fc_status FC(tap_product_run)(const tap_product *p) {
  if (p->in.N * p->GH * p->GW == 0) return FC_OK;
  if (FC(few_columns)(p)) return FC(few_columns_run)(p);
  tap_product spread = *p;
  real *copy = NULL;
  fc_status status = FC(spread_pixels)(&spread, &copy);
  if (status == FC_OK) {
    tap_plan plan = plan_work(&spread);
    status = run_plan(&spread, &plan);
  }
  fc_free(copy);
  return status;
}
