/* The engine of implicit GEMM: output pixels times filters, the input read in place through pointers. */
#include "taps.h"

enum { MOST_PIXELS = 224, LEAST_TASKS = 32 };

/* Rows of a tile: the most there are registers for, or a little less where tiles then begin and end with grid rows. */
static int aligned_height(int64_t GW, int most) {
  for (int height = most; height > most * 6 / 7; height--)
    if (GW % height == 0 || height % GW == 0) return height;
  return most;
}

/* Grid columns whose input column gx * step + w lies inside the image: low .. high. */
typedef struct {
  int64_t low, high;
} tap_columns;

static void find_columns(const tap_product *p, tap_columns *columns) {
  for (int64_t t = 0; t < p->taps; t++) {
    int64_t w = p->tap[t].w;
    columns[t].low = w >= 0 ? 0 : ceil_div(-w, p->step_w);
    columns[t].high = w >= p->in.W ? 0 : (p->in.W - 1 - w) / p->step_w + 1;
  }
}

/* Taps first .. last of a pixel; all others meet rows of padding. */
typedef struct {
  int64_t first, last;
} tap_span;

/* count neighbours of one grid row, from (n, gy, gx): pointers of every tap to table[t * stride ..]. */
static FC_NOINLINE tap_span point_run(const tap_product *p, const tap_columns *columns, int64_t n, int64_t gy,
                                      int64_t gx, int64_t count, const real *zero, const real **table, int64_t stride) {
  tap_span span = {0, 0};
  for (int64_t t = 0; t < p->taps; t++, table += stride) {
    int64_t h = gy * p->step_h + p->tap[t].h, i = 0;
    int inside = h >= 0 && h < p->in.H;
    if (inside && span.last == 0) span.first = t;
    if (inside) span.last = t + 1;
    int64_t low = inside ? min_i64(max_i64(columns[t].low - gx, 0), count) : count;
    int64_t high = inside ? max_i64(min_i64(columns[t].high - gx, count), low) : count;
    for (; i < low; i++) table[i] = zero;
    /* Only of pixels inside: far padding and long steps lead out of what a pointer, or int64, may hold. */
    int64_t row = (n * p->in.H + h) * p->in.W + p->tap[t].w;
    for (; i < high; i++) table[i] = p->in.data + (row + (gx + i) * p->step_w) * p->in.pitch;
    for (; i < count; i++) table[i] = zero;
  }
  return span;
}

/* Grid pixels first .. first + count: table [taps][stride], out and spans [stride]. */
static FC_NOINLINE void fill_tables(const tap_product *p, const tap_columns *columns, int64_t first, int64_t count,
                                    int64_t stride, const real *zero, const real **table, real **out, tap_span *spans) {
  int64_t gx = first % p->GW, gy = first / p->GW % p->GH, n = first / p->GW / p->GH;
  for (int64_t i = 0; i < count;) {
    int64_t run = min_i64(p->GW - gx, count - i), h = p->first_h + gy * p->stride_h;
    tap_span span = point_run(p, columns, n, gy, gx, run, zero, table + i, stride);
    real *to = p->out + ((n * p->out_h + h) * p->out_w + p->first_w + gx * p->stride_w) * p->out_pitch;
    for (int64_t r = 0; r < run; r++) out[i + r] = to + r * p->stride_w * p->out_pitch, spans[i + r] = span;
    i += run, gx = 0;
    if (++gy == p->GH) gy = 0, n++;
  }
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

/* Panels first .. last of the weights, packed one after the other. An output that no cache keeps goes past them. */
static FC_NOINLINE void run_block(const tap_product *p, int64_t first, int64_t last, const real *packed, int64_t count,
                                  int64_t stride, const real *const *table, real *const *out, const tap_span *spans) {
  int large =
      p->out_pitch * (int64_t)sizeof(real) % CACHE_LINE == 0 && goes_past(p->out, p->in.N * p->GH * p->GW * p->cols);
  /* The first panel meets pixels that no cache holds yet; two tiles of them must fit into the sets they fall into. */
  int fresh = p->taps == 1 && p->depth >= 4 * VL && p->in.pitch * (int64_t)sizeof(real) % (CACHE_WAY / 2);
  for (int64_t panel = first; panel < last; panel++) {
    int64_t start = panel_start(panel);
    int width = panel_width(p->cols, panel), height = aligned_height(p->GW, tile_height(width));
    tile_output finish = p->finish;
    finish.stream = large && width * FC_VEC_BYTES % CACHE_LINE == 0;
    finish.cols = min_i64(p->cols - start, (int64_t)width * VL);
    finish.bias += start;
    if (finish.slope) finish.slope += start;
    for (int64_t i = 0; i < count; i += height) {
      int mr = (int)min_i64(count - i, height);
      tap_span span = tile_span(spans + i, mr);
      real *to[MR_MAX];
      for (int r = 0; r < mr; r++) to[r] = out[i + r] + start;
      int fetch = fresh && panel == first && i + 2 * height <= count ? height : 0;
      tile_rows_fn *multiply = FC(tile_rows)[width - 1][mr - 1];
      multiply(span.last - span.first, p->depth, table + span.first * stride + i, stride, fetch,
               packed + span.first * p->depth * width * VL, to, &finish);
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

/* How the work is cut, by the shape alone: blocks of pixels whose input stays in L2 while the panels of weights stream
 * past. Weights larger than the data are packed panel by panel, by the task that uses them. */
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

/* What a thread works with. */
typedef struct {
  const real **table;
  real **out;
  tap_span *spans;
  real *packed;
} tap_scratch;

static void run_task(const tap_product *p, const tap_plan *plan, const tap_columns *columns, const real *zero,
                     const tap_scratch *s, int64_t task) {
  int64_t panel = plan->by_panel ? task % plan->panels : 0, block = plan->by_panel ? task / plan->panels : task;
  int64_t first = block * plan->step, count = min_i64(plan->step, plan->pixels - first);
  fill_tables(p, columns, first, count, plan->step, zero, s->table, s->out, s->spans);
  if (plan->by_panel) pack_weights(p, panel, s->packed);
  run_block(p, panel, plan->by_panel ? panel + 1 : plan->panels, s->packed, count, plan->step, s->table, s->out,
            s->spans);
  stream_fence();
}

/* Pixels a multiple of CACHE_WAY apart all fall into the same few lines of L1, and push each other out. */
static int pixels_collide(const tap_product *p) {
  return p->in.pitch * (int64_t)sizeof(real) % CACHE_WAY == 0 && p->depth == p->weights.depth && p->cols >= 4 * VL;
}

/* The same with the pixels a line further apart. */
static fc_status run_spread(tap_product p) {
  int64_t pixels = p.in.N * p.in.H * p.in.W, pitch = p.depth + VL;
  const real *from = p.in.data;
  real *copy = fc_alloc((size_t)(pixels * pitch) * sizeof(real));
  if (!copy) return FC_NO_MEMORY;
#pragma omp parallel for num_threads(fc_threads_for(pixels *p.depth)) schedule(static)
  for (int64_t i = 0; i < pixels; i++) memcpy(copy + i * pitch, from + i * p.in.pitch, (size_t)p.depth * sizeof(real));
  p.in.data = copy;
  p.in.pitch = pitch;
  fc_status status = FC(tap_product_run)(&p);
  fc_free(copy);
  return status;
}

fc_status FC(tap_product_run)(const tap_product *p) {
  if (p->in.N * p->GH * p->GW == 0) return FC_OK;
  if (FC(few_columns)(p)) return FC(few_columns_run)(p);
  if (pixels_collide(p)) return run_spread(*p);
  tap_plan plan = plan_work(p);
  int64_t tasks = plan.blocks * (plan.by_panel ? plan.panels : 1);
  int64_t threads = fc_threads_for_macs(plan.pixels * p->cols * (p->taps * p->depth + 1));
  size_t pointers = (size_t)(plan.step * (p->taps + 1)), zeros = (size_t)p->depth * sizeof(real);
  int64_t weights = p->taps * p->depth * (plan.by_panel ? NV_MAX * VL : padded_cols(p->cols));
  const real **tables = fc_alloc((size_t)threads * pointers * sizeof(real *));
  real *zero = fc_alloc(zeros), *packed = fc_alloc((size_t)((plan.by_panel ? threads : 1) * weights) * sizeof(real));
  tap_columns *columns = fc_alloc((size_t)p->taps * sizeof(tap_columns));
  tap_span *spans = fc_alloc((size_t)(threads * plan.step) * sizeof(tap_span));
  fc_status status = tables && zero && packed && columns && spans ? FC_OK : FC_NO_MEMORY;
  if (status == FC_OK) {
    memset(zero, 0, zeros);
    find_columns(p, columns);
#pragma omp parallel num_threads(threads)
    {
      int mine = fc_thread_number();
      tap_scratch s = {tables + (size_t)mine * pointers, NULL, spans + mine * plan.step, packed};
      s.out = (real **)(s.table + plan.step * p->taps);
      if (plan.by_panel) {
        s.packed += mine * weights;
      } else {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < plan.panels; panel++)
          pack_weights(p, panel, packed + panel_start(panel) * p->taps * p->depth);
      }
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < tasks; task++) run_task(p, &plan, columns, zero, &s, task);
    }
  }
  fc_free(spans);
  fc_free(tables);
  fc_free(zero);
  fc_free(packed);
  fc_free(columns);
  return status;
}

real *FC(pad_columns)(const tap_image *x, int64_t C, int64_t left, int64_t right) {
  int64_t rows = x->N * x->H, wide = left + x->W + right;
  real *copy = fc_alloc((size_t)(rows * wide * C) * sizeof(real));
  if (!copy) return NULL;
#pragma omp parallel for num_threads(fc_threads_for(rows * wide * C)) schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    real *to = copy + r * wide * C;
    const real *from = x->data + r * x->W * x->pitch;
    memset(to, 0, (size_t)(left * C) * sizeof(real));
    memset(to + (left + x->W) * C, 0, (size_t)(right * C) * sizeof(real));
    to += left * C;
    if (x->pitch == C)
      memcpy(to, from, (size_t)(x->W * C) * sizeof(real));
    else
      for (int64_t w = 0; w < x->W; w++) memcpy(to + w * C, from + w * x->pitch, (size_t)C * sizeof(real));
  }
  return copy;
}

fc_status FC(merge_taps)(tap_product *p, tap *taps, int64_t row, real **copy) {
  if (row < 2 || FC(few_columns)(p)) return FC_OK;
  int64_t rows = p->taps / row, left = max_i64(0, -taps[0].w);
  int64_t right = max_i64(0, (p->GW - 1) * p->step_w + taps[row - 1].w - (p->in.W - 1));
  int few = p->depth <= 8; /* then even a padded copy pays */
  if (p->in.pitch != p->depth || ((left || right) && !few)) return FC_OK;
  if (left || right) {
    *copy = FC(pad_columns)(&p->in, p->depth, left, right);
    if (!*copy) return FC_NO_MEMORY;
    p->in.data = *copy;
    p->in.W += left + right;
  }
  for (int64_t r = 0; r < rows; r++) taps[r] = (tap){taps[r * row].h, taps[r * row].w + left};
  p->taps = rows;
  p->depth *= row;
  return FC_OK;
}
