/* The engine of depthwise and grouped convolution: a vector holds output channels, a tile is up to MOST neighbours of
 * one output row. Inputs are read in place; a tile knows which taps lie inside, so nothing is padded. */
#include "group_product.h"

enum { MOST = 8, BLOCK = 32768 }; /* output pixels of a tile; multiply-adds worth a task of their own */

/* A run of output columns of one phase. `edge`: tiles look after the left and right border themselves. */
typedef struct {
  const group_axis *axis;
  group_run run;
  int edge;
} phase_run;

/* One tile: T outputs from x (the input pixel at offset 0) to y; rows: the taps inside. */
typedef struct {
  const group_product *p;
  const group_axis *rows, *cols;
  group_span row_taps, col_taps;
  int64_t left, right; /* how many input columns of the tile lie outside */
  const real *x;
  real *y;
} group_tile;

/* T vectors to y, y + step ...: the first n lanes, activated. */
static FC_NOINLINE void store_any(int T, const vec *sum, const fc_epilogue *e, int64_t k, int64_t n, real *y,
                                  int64_t step) {
  vec slope = e->kind == FC_PRELU ? load_n((const real *)e->slope + k, n) : splat((real)e->parameter);
  for (int t = 0; t < T; t++) {
    vec v = sum[t];
    if (e->kind == FC_RELU || e->kind == FC_RELU6) v = at_least(v, (vec){0});
    if (e->kind == FC_RELU6) v = at_most(v, splat(6));
    if (e->kind == FC_LEAKY_RELU || e->kind == FC_PRELU) v = blend(v < 0, v * slope, v);
    store_n(y + t * step, v, n);
  }
}

/* The common case, whole vectors and at most relu, straight from the registers. */
FC_INLINE void store_tile(const int T, const lanes_mode mode, const vec *sum, const fc_epilogue *e, int64_t k,
                          int64_t n, real *y, int64_t step) {
  vec bias = e->bias ? load_n((const real *)e->bias + k, n) : (vec){0};
  if (mode == LANES_ANY || e->kind > FC_RELU) {
    vec spilled[MOST];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) spilled[t] = sum[t] + bias;
    store_any(T, spilled, e, k, n, y, step);
    return;
  }
  vec low = splat(e->kind == FC_RELU ? 0 : -(real)INFINITY);
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) store(y + t * step, at_least(sum[t] + bias, low));
}

/* sum[t] += the taps of one kernel row, input by input: each is read (and brought to its lanes) once for all outputs
 * that it reaches. KW neighbouring taps, S inputs from one output to the next. */
FC_INLINE void add_row(const int T, const int KW, const int S, const lanes_mode mode, const group_tile *a,
                       const real *x, const real *w, ivec index, vec *sum) {
  vec weight[8];
#pragma GCC unroll 8
  for (int u = 0; u < KW; u++) weight[u] = load(w + a->cols->weight[u]);
#pragma GCC unroll 24
  for (int j = 0; j < (T - 1) * S + KW; j++, x += a->p->in_pitch) {
    if (j < KW / 2 && j < a->left) continue;
    if (j >= (T - 1) * S + (KW + 1) / 2 && (T - 1) * S + KW - j <= a->right) continue;
    vec v = lanes_load(mode, x, index, VL);
#pragma GCC unroll 8
    for (int u = 0; u < KW; u++)
      if (j >= u && (j - u) % S == 0 && (j - u) / S < T) sum[(j - u) / S] += v * weight[u];
  }
}

/* Likewise for any taps and any step. */
FC_INLINE void add_taps(const int T, const lanes_mode mode, const group_tile *a, const real *x, const real *w,
                        ivec index, int64_t n, vec *sum) {
  int64_t step = a->cols->step * a->p->in_pitch;
  for (int64_t u = a->col_taps.first; u < a->col_taps.last; u++) {
    vec weight = load_n(w + a->cols->weight[u], n);
    const real *from = x + a->cols->offset[u];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) sum[t] += lanes_load(mode, from + t * step, index, n) * weight;
  }
}

/* KW == 0: any taps */
FC_INLINE void tile(const int T, const int KW, const int S, const lanes_mode mode, const group_tile *a) {
  const group_product *p = a->p;
  const group_lanes *g = p->lanes;
  const int64_t n = mode == LANES_ANY ? g->count : VL, depth = mode == LANES_EQUAL ? 1 : g->depth;
  for (int64_t vector = 0; vector < g->vectors; vector++) {
    int64_t k = lanes_start(g, vector);
    vec sum[MOST];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) sum[t] = (vec){0};
    for (int64_t i = 0; i < depth; i++) {
      lanes_source from = lanes_find(mode, g, vector, i);
      for (int64_t r = a->row_taps.first; r < a->row_taps.last; r++) {
        const real *x = a->x + a->rows->offset[r] + from.base, *w = p->w + a->rows->weight[r] + i * g->outputs + k;
        if (KW)
          add_row(T, KW, S, mode, a, x + a->cols->offset[0], w, from.index, sum);
        else
          add_taps(T, mode, a, x, w, from.index, n, sum);
      }
    }
    store_tile(T, mode, sum, p->finish, k, n, a->y + k, a->cols->stride * p->out_pitch);
  }
}

typedef void tile_fn(const group_tile *a);

#define DEFINE(T, name, KW, S, mode) \
  static void name##_##T(const group_tile *a) { tile(T, KW, S, mode, a); }
#define ALL(F, ...) \
  F(1, __VA_ARGS__) \
  F(2, __VA_ARGS__) \
  F(3, __VA_ARGS__) F(4, __VA_ARGS__) F(5, __VA_ARGS__) F(6, __VA_ARGS__) F(7, __VA_ARGS__) F(8, __VA_ARGS__)
#define NAME(T, name) name##_##T,
#define TABLE(name, KW, S, mode) \
  ALL(DEFINE, name, KW, S, mode) \
  static tile_fn *const name[MOST] = {ALL(NAME, name)};

TABLE(equal_3, 3, 1, LANES_EQUAL)
TABLE(equal_3_step_2, 3, 2, LANES_EQUAL)
TABLE(equal_5, 5, 1, LANES_EQUAL)
TABLE(equal_taps, 0, 0, LANES_EQUAL)
TABLE(one_3, 3, 1, LANES_ONE)
TABLE(one_taps, 0, 0, LANES_ONE)
TABLE(two_3, 3, 1, LANES_TWO)
TABLE(two_taps, 0, 0, LANES_TWO)
TABLE(any_taps, 0, 0, LANES_ANY)

/* Tiles for neighbouring taps of this count and step, or NULL. */
static tile_fn *const *row_tiles(lanes_mode mode, int64_t taps, int64_t step) {
  if (mode == LANES_EQUAL && taps == 3 && step == 2) return equal_3_step_2;
  if (mode == LANES_EQUAL && taps == 5 && step == 1) return equal_5;
  if (taps != 3 || step != 1) return NULL;
  return mode == LANES_EQUAL ? equal_3 : mode == LANES_ONE ? one_3 : mode == LANES_TWO ? two_3 : NULL;
}

static tile_fn *const *any_tiles(lanes_mode mode) {
  return mode == LANES_EQUAL ? equal_taps : mode == LANES_ONE ? one_taps : mode == LANES_TWO ? two_taps : any_taps;
}

static void walk_run(const group_product *p, const phase_run *r, group_tile *a, const real *x, real *y) {
  const group_axis *cols = r->axis;
  const group_run *run = &r->run;
  int64_t length = run->end - run->begin, tiles = ceil_div(length, MOST);
  tile_fn *const *tile = r->edge ? row_tiles(p->lanes->mode, cols->taps, cols->step) : any_tiles(p->lanes->mode);
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

/* The runs of all column phases; NULL: no memory. */
static phase_run *find_runs(const group_product *p, int64_t *count) {
  const group_axes *axes = p->axes;
  const group_axis *cols = axes->phases + axes->row_phases;
  int64_t most = 0, widest = 0;
  for (int64_t i = 0; i < axes->col_phases; i++) {
    int64_t here = min_i64(cols[i].count, 2 * cols[i].taps + 1);
    most += here, widest = max_i64(widest, here);
  }
  phase_run *runs = fc_alloc((size_t)most * sizeof(phase_run));
  group_run *found = fc_alloc((size_t)widest * sizeof(group_run));
  *count = 0;
  for (int64_t i = 0; runs && found && i < axes->col_phases; i++) {
    if (row_tiles(p->lanes->mode, cols[i].taps, cols[i].step) && group_neighbours(&cols[i])) {
      runs[(*count)++] = (phase_run){&cols[i], {0, cols[i].count, {0, cols[i].taps}}, 1};
      continue;
    }
    int64_t here = FC(group_runs)(&cols[i], found);
    for (int64_t r = 0; r < here; r++) runs[(*count)++] = (phase_run){&cols[i], found[r], 0};
  }
  if (!found) fc_free(runs), runs = NULL;
  fc_free(found);
  return runs;
}

fc_status FC(group_product_run)(const group_product *p) {
  const group_axis *phases = p->axes->phases; /* of rows */
  int64_t count, rows = p->N * p->OH;
  phase_run *runs = find_runs(p, &count);
  if (!runs) return FC_NO_MEMORY;
  int64_t macs = p->OW * p->lanes->outputs * p->lanes->depth * (p->taps), band = max_i64(1, BLOCK / macs);
#pragma omp parallel for num_threads(fc_threads_for_macs(rows *macs)) schedule(static)
  for (int64_t first = 0; first < rows; first += band)
    for (int64_t row = first; row < min_i64(rows, first + band); row++) {
      int64_t n = row / p->OH, oh = row % p->OH;
      const group_axis *axis = phases + oh % phases->stride;
      int64_t g = oh / axis->stride;
      group_tile a = {.p = p, .rows = axis, .row_taps = group_taps(axis, g)};
      for (int64_t r = 0; r < count; r++)
        walk_run(p, &runs[r], &a, p->in + (n * p->H + g * axis->step) * p->W * p->in_pitch,
                 p->out + row * p->OW * p->out_pitch);
    }
  fc_free(runs);
  return FC_OK;
}
