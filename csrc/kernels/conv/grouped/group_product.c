/* The engine of depthwise and grouped convolution: a vector holds output channels, a tile is up to MOST neighbours of
 * one output row. Inputs are read in place; a tile knows which taps lie inside, so nothing is padded. */
#include "group_product.h"
#include "kernels/base/rectifier.h"

enum {
  MOST = 8,                        /* output pixels of a tile in one row */
  PAIRED = FC_MR1 > 12 ? MOST : 4, /* and in each of two rows: as many as there are registers for */
  BLOCK = 32768                    /* multiply-adds worth a task of their own */
};

/* A run of output columns of one phase. `edge`: tiles look after the left and right border themselves. */
typedef struct {
  const group_axis *axis;
  group_run run;
  int edge;
} phase_run;

/* One tile: T outputs from x (the input pixel at offset 0) to y, and perhaps T more in the next row of the phase. */
typedef struct {
  const group_product *p;
  const group_axis *rows, *cols;
  group_span row_taps, next_taps, col_taps; /* those inside */
  int64_t left, right;                      /* how many input columns of the tile lie outside */
  const real *x;
  real *y;
  int past; /* the output goes past the caches */
} group_tile;

/* T vectors to y, y + step ...: the first n lanes, activated. */
static FC_NOINLINE void store_any(int T, const vec *sum, const fc_epilogue *e, int64_t k, int64_t n, real *y,
                                  int64_t step) {
  vec slope = e->kind == FC_PRELU ? load_n((const real *)e->slope + k, n) : splat((real)e->parameter);
  for (int t = 0; t < T; t++) store_n(y + t * step, rectify(e->kind, sum[t], slope), n);
}

/* The common case, whole vectors and at most relu, straight from the registers. */
FC_INLINE void store_tile(const int T, const lanes_mode mode, const vec *sum, const fc_epilogue *e, int64_t k,
                          int64_t n, int past, real *y, int64_t step) {
  vec bias = e->bias ? load_n((const real *)e->bias + k, n) : (vec){0};
  if (mode <= LANES_PART || e->kind > FC_RELU) {
    vec spilled[MOST];
    UNROLL(8)
    for (int t = 0; t < T; t++) spilled[t] = sum[t] + bias;
    store_any(T, spilled, e, k, n, y, step);
    return;
  }
  vec low = splat(e->kind == FC_RELU ? 0 : -(real)INFINITY);
  UNROLL(8)
  for (int t = 0; t < T; t++) put(y + t * step, at_least(sum[t] + bias, low), VL, past);
}

/* sum[t] += the taps of one kernel row, input by input: each is read (and brought to its lanes) once for all outputs
 * that it reaches. KW neighbouring taps, S inputs from one output to the next; first, second: does it
 * count for the tile's first row, with weights w, and for the second, with next_w? */
FC_INLINE void add_row(const int T, const int KW, const int S, const lanes_mode mode, const int first, const int second,
                       const group_tile *a, const real *x, const real *w, const real *next_w, ivec index, vec *sum) {
  vec weight[5], next[5];
  UNROLL(5)
  for (int u = 0; u < KW; u++) {
    if (first) weight[u] = load(w + a->cols->weight[u]);
    if (second) next[u] = load(next_w + a->cols->weight[u]);
  }
  UNROLL(24)
  for (int j = 0; j < (T - 1) * S + KW; j++, x += a->p->in_pitch) {
    if (j < KW / 2 && j < a->left) continue;
    if (j >= (T - 1) * S + (KW + 1) / 2 && (T - 1) * S + KW - j <= a->right) continue;
    vec v = in_register(lanes_load(mode, x, index, VL));
    UNROLL(5)
    for (int u = 0; u < KW; u++)
      if (j >= u && (j - u) % S == 0 && (j - u) / S < T) {
        if (first) sum[(j - u) / S] += v * weight[u];
        if (second) sum[T + (j - u) / S] += v * next[u];
      }
  }
}

/* All kernel rows of a pair of output rows: input row q is met by tap q of the first and tap q - 1 of the second. */
FC_INLINE void add_pair(const int T, const int KW, const lanes_mode mode, const group_tile *a, const real *x,
                        const real *w, ivec index, vec *sum) {
  const int64_t step = a->p->W * a->p->in_pitch;
  for (int64_t q = 0; q <= a->rows->taps; q++) {
    int first = q >= a->row_taps.first && q < a->row_taps.last;
    int second = q > a->next_taps.first && q <= a->next_taps.last;
    const real *row = x + q * step, *here = w, *next = w;
    if (first) here += a->rows->weight[q];
    if (second) next += a->rows->weight[q - 1];
    if (first && second)
      add_row(T, KW, 1, mode, 1, 1, a, row, here, next, index, sum);
    else if (first)
      add_row(T, KW, 1, mode, 1, 0, a, row, here, next, index, sum);
    else if (second)
      add_row(T, KW, 1, mode, 0, 1, a, row, here, next, index, sum);
  }
}

/* Likewise for any taps and any step. */
FC_INLINE void add_taps(const int T, const lanes_mode mode, const group_tile *a, const real *x, const real *w,
                        ivec index, int64_t n, vec *sum) {
  int64_t step = a->cols->step * a->p->in_pitch;
  for (int64_t u = a->col_taps.first; u < a->col_taps.last; u++) {
    vec weight = load_n(w + a->cols->weight[u], n);
    const real *from = x + a->cols->offset[u];
    UNROLL(8)
    for (int t = 0; t < T; t++) sum[t] += lanes_load(mode, from + t * step, index, n) * weight;
  }
}

/* KW == 0: any taps. rows: 1 or 2. */
FC_INLINE void tile(const int T, const int rows, const int KW, const int S, const lanes_mode mode,
                    const group_tile *a) {
  const group_product *p = a->p;
  const group_lanes *g = p->lanes;
  const int64_t n = lanes_used(mode, g), depth = mode == LANES_EQUAL ? 1 : g->depth;
  for (int64_t vector = 0; vector < g->vectors; vector++) {
    int64_t k = lanes_start(g, vector);
    vec sum[2 * MOST];
    UNROLL(16)
    for (int t = 0; t < T * rows; t++) sum[t] = (vec){0};
    for (int64_t i = 0; i < depth; i++) {
      lanes_source from = lanes_find(mode, g, vector, i);
      const real *x = a->x + from.base, *w = p->w + i * g->outputs + k;
      if (KW) x += a->cols->offset[0];
      if (rows == 2) add_pair(T, KW, mode, a, x + a->rows->offset[0], w, from.index, sum);
      for (int64_t r = a->row_taps.first; rows == 1 && r < a->row_taps.last; r++) {
        const real *row = x + a->rows->offset[r], *here = w + a->rows->weight[r];
        if (KW)
          add_row(T, KW, S, mode, 1, 0, a, row, here, here, from.index, sum);
        else
          add_taps(T, mode, a, row, here, from.index, n, sum);
      }
    }
    int64_t step = a->cols->stride * p->out_pitch;
    store_tile(T, mode, sum, p->epilogue, k, n, a->past, a->y + k, step);
    if (rows == 2) store_tile(T, mode, sum + T, p->epilogue, k, n, a->past, a->y + p->OW * p->out_pitch + k, step);
  }
}

typedef void tile_fn(const group_tile *a);

#define DEFINE(T, name, rows, KW, S, mode)                       \
  static void name##_##T(const group_tile *a) {                  \
    if (rows == 1 || T <= PAIRED) tile(T, rows, KW, S, mode, a); \
  }
#define ALL(F, ...) \
  F(1, __VA_ARGS__) \
  F(2, __VA_ARGS__) \
  F(3, __VA_ARGS__) F(4, __VA_ARGS__) F(5, __VA_ARGS__) F(6, __VA_ARGS__) F(7, __VA_ARGS__) F(8, __VA_ARGS__)
#define NAME(T, name) name##_##T,
#define TABLE(name, rows, KW, S, mode) \
  ALL(DEFINE, name, rows, KW, S, mode) \
  static tile_fn *const name[MOST] = {ALL(NAME, name)};

TABLE(equal_3, 1, 3, 1, LANES_EQUAL)
TABLE(equal_3_pair, 2, 3, 1, LANES_EQUAL)
TABLE(equal_3_step_2, 1, 3, 2, LANES_EQUAL)
TABLE(equal_5, 1, 5, 1, LANES_EQUAL)
TABLE(equal_5_pair, 2, 5, 1, LANES_EQUAL)
TABLE(equal_taps, 1, 0, 0, LANES_EQUAL)
TABLE(one_3, 1, 3, 1, LANES_ONE)
TABLE(one_3_pair, 2, 3, 1, LANES_ONE)
TABLE(one_taps, 1, 0, 0, LANES_ONE)
TABLE(two_3, 1, 3, 1, LANES_TWO)
TABLE(two_taps, 1, 0, 0, LANES_TWO)
TABLE(part_taps, 1, 0, 0, LANES_PART)
TABLE(any_taps, 1, 0, 0, LANES_ANY)

/* Tiles of this many rows for neighbouring taps of this count and step, or NULL. */
static tile_fn *const *row_tiles(int rows, lanes_mode mode, int64_t taps, int64_t step) {
  int three = taps == 3 && step == 1, five = taps == 5 && step == 1;
  switch (mode) {
    case LANES_EQUAL:
      if (rows == 2) return three ? equal_3_pair : five ? equal_5_pair : NULL;
      return three ? equal_3 : five ? equal_5 : taps == 3 && step == 2 ? equal_3_step_2 : NULL;
    case LANES_ONE:
      return !three ? NULL : rows == 2 ? one_3_pair : one_3;
    case LANES_TWO:
      return rows == 1 && three ? two_3 : NULL;
    default:
      return NULL;
  }
}

static tile_fn *const *any_tiles(lanes_mode mode) {
  tile_fn *const *const tiles[] = {[LANES_ANY] = any_taps,
                                   [LANES_PART] = part_taps,
                                   [LANES_TWO] = two_taps,
                                   [LANES_ONE] = one_taps,
                                   [LANES_EQUAL] = equal_taps};
  return tiles[mode];
}

static void walk_run(const group_product *p, int rows, const phase_run *r, group_tile *a, const real *x, real *y) {
  const group_axis *cols = r->axis;
  const group_run *run = &r->run;
  int64_t length = run->end - run->begin, tiles = ceil_div(length, rows == 2 ? PAIRED : MOST);
  lanes_mode mode = p->lanes->mode;
  tile_fn *const *tile = r->edge ? row_tiles(rows, mode, cols->taps, cols->step) : any_tiles(mode);
  a->cols = cols, a->col_taps = run->inside;
  for (int64_t i = 0; i < tiles; i++) { /* even tiles */
    int64_t g = run->begin + length * i / tiles, T = run->begin + length * (i + 1) / tiles - g;
    a->x = x + g * cols->step * p->in_pitch;
    a->y = y + (cols->first + g * cols->stride) * p->out_pitch;
    if (r->edge) {
      a->left = max_i64(0, -(g * cols->step + cols->at[0]));
      a->right = max_i64(0, (g + T - 1) * cols->step + cols->at[cols->taps - 1] - (cols->size - 1));
    }
    tile[T - 1](a);
  }
}

/* The runs of all column phases, at *runs in the workspace; returns how many, -1: no memory. */
static int64_t find_runs(const group_product *p, fc_workspace *memory, phase_run **runs) {
  const group_axes *axes = p->axes;
  const group_axis *cols = axes->phases + axes->row_phases;
  int64_t most = 0, widest = 0;
  for (int64_t i = 0; i < axes->col_phases; i++) {
    int64_t here = min_i64(cols[i].count, 2 * cols[i].taps + 1);
    most += here, widest = max_i64(widest, here);
  }
  group_run *found;
  FC_PART(memory, *runs, most);
  FC_PART(memory, found, widest);
  if (!fc_workspace_take(memory)) return -1;
  int64_t count = 0;
  for (int64_t i = 0; i < axes->col_phases; i++) {
    if (row_tiles(1, p->lanes->mode, cols[i].taps, cols[i].step) && group_neighbours(&cols[i])) {
      (*runs)[count++] = (phase_run){&cols[i], {0, cols[i].count, {0, cols[i].taps}}, 1};
      continue;
    }
    int64_t here = FC(group_runs)(&cols[i], found);
    for (int64_t r = 0; r < here; r++) (*runs)[count++] = (phase_run){&cols[i], found[r], 0};
  }
  return count;
}

/* Can two neighbouring output rows be made together? Then they share most of their input. */
static int has_pairs(const group_product *p, const phase_run *runs, int64_t count) {
  const group_axis *rows = p->axes->phases, *cols = runs->axis;
  if (count != 1 || !runs->edge || !row_tiles(2, p->lanes->mode, cols->taps, cols->step)) return 0;
  return rows->stride == 1 && rows->step == 1 && rows->taps > 1 &&
         rows->at[rows->taps - 1] - rows->at[0] == rows->taps - 1;
}

/* Output rows row .. row + rows - 1 of the batch. */
static void make_rows(const group_product *p, int rows, int64_t row, const phase_run *runs, int64_t count, int past) {
  int64_t n = row / p->OH, oh = row % p->OH;
  const group_axis *axis = p->axes->phases + oh % p->axes->phases->stride;
  int64_t g = oh / axis->stride;
  group_tile a = {.p = p, .rows = axis, .row_taps = group_taps(axis, g), .past = past};
  if (rows == 2) a.next_taps = group_taps(axis, g + 1);
  for (int64_t r = 0; r < count; r++)
    walk_run(p, rows, &runs[r], &a, p->in + (n * p->H + g * axis->step) * p->W * p->in_pitch,
             p->out + row * p->OW * p->out_pitch);
}

fc_status FC(group_product_run)(const group_product *p) {
  fc_workspace memory = {0};
  phase_run *runs;
  int64_t rows = p->N * p->OH, count = find_runs(p, &memory, &runs);
  if (count < 0) return FC_NO_MEMORY;
  const int pairs = has_pairs(p, runs, count);
  int64_t macs = p->OW * p->lanes->outputs * p->lanes->depth * p->taps, band = max_i64(1, BLOCK / macs);
  int past = p->lanes->outputs % VL == 0 && p->out_pitch * (int64_t)sizeof(real) % CACHE_LINE == 0 &&
             goes_past(p->out, rows * p->OW * p->out_pitch);
  if (pairs) band += band % 2;
#pragma omp parallel for num_threads(fc_threads_for_macs(rows *macs)) schedule(static)
  for (int64_t first = 0; first < rows; first += band) {
    for (int64_t row = first, last = min_i64(rows, first + band); row < last;) {
      int two = pairs && row + 1 < last && row % p->OH + 1 < p->OH;
      make_rows(p, 1 + two, row, runs, count, past);
      row += 1 + two;
    }
    stream_fence();
  }
  fc_workspace_free(&memory);
  return FC_OK;
}
