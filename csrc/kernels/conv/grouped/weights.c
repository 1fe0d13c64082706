/* Depthwise and grouped convolution, backward weights: dw[tap][i][k] = sum over pixels of x[pixel at tap][lane k, i]
 * dy[pixel][k], vectorised over the outputs of all groups, the taps of one vector in registers; db[k] on the way.
 *
 *      x row      x0 x1 x2 x3 x4 ...        sum[tap 0] += x0 dy0 + x1 dy1 + ...     a vector each: VL channels
 *                  | /| /| /                sum[tap 1] += x1 dy0 + x2 dy1 + ...
 *      dy row     dy0 dy1 dy2 ...           an x is read once for all taps that it meets
 *
 * As in conv/direct/weights.c a task is a chunk of output rows and a part of dw; the chunks' sums are added in order.
 *
 * x (N, H, W, C), dy (N, OH, OW, K), dw (KH, KW, C/G, K). */
#include "group_product.h"

enum {
  MOST = 4,     /* neighbouring outputs taken together: an input is read once for all of their taps */
  COLS = 5,     /* taps of a kernel row that have a register each, or 3 x 3 */
  TASKS = 16,   /* chunks of pixels times parts of the channels: by shape, never by the number of threads */
  PIXELS = 128, /* outputs that are summed in registers before the sums go to memory */
  AHEAD = 1,    /* vectors: a vector's pixels lie too far apart for the hardware to fetch them ahead */
  PAYS = 16     /* times that a chunk's data must outweigh dw: each chunk writes a copy of it */
};

typedef struct {
  const fc_conv2d *d;
  const group_lanes *lanes;
  const group_axis *rows, *cols;
  const group_run *runs;
  const real *x, *dy;
  int64_t run_count, chunks, parts, band; /* band: output rows summed in registers */
  int64_t height, width;                  /* taps whose sums are in registers: width <= COLS of `height` rows */
} group_weights;

/* Sums of one vector, input i of its groups, over output rows begin .. end: taps from (row, col) on. */
typedef struct {
  const group_weights *p;
  int64_t vector, i, row, col, begin, end;
} group_sums;

/* sum[r][u] += T neighbours of an output row, for neighbouring taps, S inputs from one output to the next.
 * x: the pixel that the first output meets at kernel column 0, but for the kernel row. */
FC_INLINE void add_row(const int T, const int KH, const int KW, const int S, const lanes_mode mode,
                       const group_weights *p, group_span in, int64_t left, int64_t right, ivec index, const real *x,
                       const real *dy, vec *sum, vec *bias) {
  vec gradient[MOST];
  UNROLL(4)
  for (int t = 0; t < T; t++) {
    *bias += gradient[t] = load(dy + t * p->d->y_pitch);
    __builtin_prefetch(dy + t * p->d->y_pitch + AHEAD * VL, 0, 2);
  }
  UNROLL(3)
  for (int r = 0; r < KH; r++) {
    if (r < in.first || r >= in.last) continue;
    const real *from = x + p->rows->offset[r];
    UNROLL(12)
    for (int j = 0; j < (T - 1) * S + KW; j++, from += p->d->x_pitch) {
      if (j < KW / 2 && j < left) continue;
      if (j >= (T - 1) * S + (KW + 1) / 2 && (T - 1) * S + KW - j <= right) continue;
      if (r == KH - 1 && j < T * S) __builtin_prefetch(from + AHEAD * VL, 0, 2);
      vec v = in_register(lanes_load(mode, from, index, VL));
      UNROLL(5)
      for (int u = 0; u < KW; u++)
        if (j >= u && (j - u) % S == 0 && (j - u) / S < T) sum[r * KW + u] += v * gradient[(j - u) / S];
    }
  }
}

/* A 3 x 3 kernel, or one row of neighbouring taps: whole output rows, borders and all. */
FC_INLINE void sum_rows(const int KH, const int KW, const int S, const lanes_mode mode, const group_sums *b, vec *sums,
                        vec *bias_sum) {
  const group_weights *p = b->p;
  const fc_conv2d *d = p->d;
  lanes_source from = lanes_find(mode, p->lanes, b->vector, b->i);
  vec sum[9], bias = {0};
  UNROLL(9)
  for (int u = 0; u < KH * KW; u++) sum[u] = (vec){0};
  for (int64_t row = b->begin; row < b->end; row++) {
    int64_t oh = row % d->OH;
    group_span in = group_taps(p->rows, oh);
    const real *x = p->x + (row / d->OH * d->H + oh * d->SH) * d->W * d->x_pitch + from.base + p->cols->offset[0];
    const real *dy = p->dy + row * d->OW * d->y_pitch + lanes_start(p->lanes, b->vector);
    int64_t left = -p->cols->at[0], right = left + d->W - d->KW; /* of column 0 */
    int64_t g = 0;
    if (KH == 1) x += p->rows->offset[b->row] - p->rows->offset[0], in.first -= b->row, in.last -= b->row;
    for (; g + MOST <= d->OW; g += MOST)
      add_row(MOST, KH, KW, S, mode, p, in, left - g * S, (g + MOST - 1) * S - right, from.index,
              x + g * S * d->x_pitch, dy + g * d->y_pitch, sum, &bias);
    for (; g < d->OW; g++)
      add_row(1, KH, KW, S, mode, p, in, left - g * S, g * S - right, from.index, x + g * S * d->x_pitch,
              dy + g * d->y_pitch, sum, &bias);
  }
  UNROLL(9)
  for (int u = 0; u < KH * KW; u++) sums[u] = sum[u];
  *bias_sum = bias;
}

/* Up to COLS taps of one kernel row, of any distance, output by output. */
FC_INLINE void sum_taps(const lanes_mode mode, const group_sums *b, vec *sums, vec *bias_sum) {
  const group_weights *p = b->p;
  const fc_conv2d *d = p->d;
  lanes_source from = lanes_find(mode, p->lanes, b->vector, b->i);
  const int64_t n = lanes_used(mode, p->lanes), *offset = p->cols->offset + b->col;
  vec sum[COLS] = {{0}}, bias = {0};
  for (int64_t row = b->begin; row < b->end; row++) {
    int64_t oh = row % d->OH;
    group_span in = group_taps(p->rows, oh);
    int inside = b->row >= in.first && b->row < in.last;
    const real *x = p->x + (row / d->OH * d->H + oh * d->SH) * d->W * d->x_pitch + from.base;
    const real *dy = p->dy + row * d->OW * d->y_pitch + lanes_start(p->lanes, b->vector);
    x += p->rows->offset[b->row];
    for (const group_run *run = p->runs; run < p->runs + p->run_count; run++) {
      int64_t low = run->inside.first - b->col, high = inside ? run->inside.last - b->col : 0;
      for (int64_t g = run->begin; g < run->end; g++) {
        vec gradient = load_n(dy + g * d->y_pitch, n);
        const real *pixel = x + g * d->SW * d->x_pitch;
        bias += gradient;
        UNROLL(5)
        for (int u = 0; u < COLS; u++)
          if (u >= low && u < high) sum[u] += lanes_load(mode, pixel + offset[u], from.index, n) * gradient;
      }
    }
  }
  UNROLL(5)
  for (int u = 0; u < COLS; u++) sums[u] = sum[u];
  *bias_sum = bias;
}

typedef void sum_fn(const group_sums *b, vec *sums, vec *bias);

#define ROWS(name, KH, KW, S, mode) \
  static void name(const group_sums *b, vec *sums, vec *bias) { sum_rows(KH, KW, S, mode, b, sums, bias); }
#define TAPS(name, mode) \
  static void name(const group_sums *b, vec *sums, vec *bias) { sum_taps(mode, b, sums, bias); }
ROWS(equal_3x3, 3, 3, 1, LANES_EQUAL)
ROWS(equal_3x3_step_2, 3, 3, 2, LANES_EQUAL)
ROWS(equal_5, 1, 5, 1, LANES_EQUAL)
ROWS(one_3x3, 3, 3, 1, LANES_ONE)
ROWS(two_3x3, 3, 3, 1, LANES_TWO)
TAPS(equal_taps, LANES_EQUAL)
TAPS(one_taps, LANES_ONE)
TAPS(two_taps, LANES_TWO)
TAPS(part_taps, LANES_PART)
TAPS(any_taps, LANES_ANY)

/* The fastest way to sum this kernel's taps. Sets how many taps go at once. */
static sum_fn *choose_sum(group_weights *p) {
  const fc_conv2d *d = p->d;
  const lanes_mode mode = p->lanes->mode;
  p->height = 1, p->width = COLS;
  if (d->KH == 3 && d->KW == 3 && d->SW <= 2 && mode > LANES_PART && group_neighbours(p->cols)) {
    sum_fn *sum = mode == LANES_EQUAL && d->SW == 2 ? equal_3x3_step_2
                  : d->SW == 2                      ? NULL
                  : mode == LANES_EQUAL             ? equal_3x3
                  : mode == LANES_ONE               ? one_3x3
                                                    : two_3x3;
    if (sum) {
      p->height = p->width = 3;
      return sum;
    }
  }
  if (d->KW == 5 && d->SW == 1 && mode == LANES_EQUAL && group_neighbours(p->cols)) return equal_5;
  sum_fn *const any[] = {[LANES_ANY] = any_taps,
                         [LANES_PART] = part_taps,
                         [LANES_TWO] = two_taps,
                         [LANES_ONE] = one_taps,
                         [LANES_EQUAL] = equal_taps};
  return any[mode];
}

/* Output rows begin .. end of vectors first .. last: partial [taps * depth + 1][vectors][VL], db in the last row. */
static void sum_chunk(const group_weights *p, sum_fn *sum, int64_t begin, int64_t end, int64_t first, int64_t last,
                      real *partial) {
  const fc_conv2d *d = p->d;
  int64_t row_size = p->lanes->vectors * VL, depth = p->lanes->depth;
  vec sums[9], bias;
  for (int64_t row = begin; row < end; row += p->band)
    for (int64_t v = first; v < last; v++) {
      for (int64_t i = 0; i < depth; i++)
        for (int64_t kh = 0; kh < d->KH; kh += p->height)
          for (int64_t kw = 0; kw < d->KW; kw += p->width) {
            group_sums b = {p, v, i, kh, kw, row, min_i64(end, row + p->band)};
            sum(&b, sums, &bias);
            for (int64_t r = 0; r < p->height; r++)
              for (int64_t u = 0; u < min_i64(p->width, d->KW - kw); u++) {
                real *to = partial + (((kh + r) * d->KW + kw + u) * depth + i) * row_size + v * VL;
                store(to, row == begin ? sums[r * p->width + u] : load(to) + sums[r * p->width + u]);
              }
            if (i || kh || kw) continue;
            real *to = partial + d->KH * d->KW * depth * row_size + v * VL;
            store(to, row == begin ? bias : load(to) + bias);
          }
    }
}

/* dw and, unless it is NULL, db = sum of the chunks, in order */
static void add_chunks(const group_weights *p, const real *partial, real *dw, real *db) {
  const group_lanes *g = p->lanes;
  int64_t rows = p->d->KH * p->d->KW * g->depth, row_size = g->vectors * VL, size = (rows + 1) * row_size;
#pragma omp parallel for num_threads(fc_threads_for(p->chunks *size)) schedule(static)
  for (int64_t r = 0; r < rows + (db ? 1 : 0); r++)
    for (int64_t v = 0; v < g->vectors; v++) {
      const real *from = partial + r * row_size + v * VL;
      vec sum = load(from);
      for (int64_t chunk = 1; chunk < p->chunks; chunk++) sum += load(from + chunk * size);
      store_n((r < rows ? dw + r * g->outputs : db) + lanes_start(g, v), sum, g->count);
    }
}

static fc_status run_plan(group_weights *p, real *dw, real *db) {
  const fc_conv2d *d = p->d;
  int64_t rows = d->N * d->OH, taps = d->KH * d->KW * p->lanes->depth, vectors = p->lanes->vectors;
  int64_t size = (taps + 1) * vectors * VL, SH = min_i64(d->SH, d->H);
  int64_t data = rows * SH * d->W * d->C + rows * d->OW * d->K;
  p->chunks = max_i64(1, min_i64(min_i64(TASKS, rows), data / (PAYS * size)));
  p->parts = min_i64(ceil_div(TASKS, p->chunks), vectors);
  p->band = max_i64(1, PIXELS / d->OW);
  fc_workspace memory = {0};
  real *partial;
  group_run *runs;
  FC_PART(&memory, partial, p->chunks * size);
  FC_PART(&memory, runs, min_i64(d->OW, 2 * d->KW + 1));
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  p->runs = runs, p->run_count = FC(group_runs)(p->cols, runs);
  sum_fn *sum = choose_sum(p);
#pragma omp parallel for num_threads(fc_threads_for_macs(rows * d->OW * d->K * taps)) schedule(dynamic)
  for (int64_t task = 0; task < p->chunks * p->parts; task++) {
    int64_t chunk = task / p->parts, part = task % p->parts;
    sum_chunk(p, sum, rows * chunk / p->chunks, rows * (chunk + 1) / p->chunks, vectors * part / p->parts,
              vectors * (part + 1) / p->parts, partial + chunk * size);
  }
  add_chunks(p, partial, dw, db);
  fc_workspace_free(&memory);
  return FC_OK;
}

fc_status FC(conv2d_backward_weights_grouped)(const fc_conv2d *d, const void *x, const void *dy, void *dw, void *db) {
  if (d->N == 0) {
    memset(dw, 0, (size_t)(d->KH * d->KW * d->C / d->G * d->K) * sizeof(real));
    if (db) memset(db, 0, (size_t)d->K * sizeof(real));
    return FC_OK;
  }
  group_lanes lanes;
  group_axes axes = {0};
  fc_status status = FC(lanes_init)(&lanes, d->C, d->K, d->G);
  if (status != FC_OK) return status;
  status = FC(group_axes_forward)(d, d->C / d->G * d->K, &axes);
  if (status == FC_OK) {
    group_weights p = {.d = d, .lanes = &lanes, .rows = axes.phases, .cols = axes.phases + 1, .x = x, .dy = dy};
    status = run_plan(&p, dw, db);
  }
  group_axes_free(&axes);
  lanes_free(&lanes);
  return status;
}
