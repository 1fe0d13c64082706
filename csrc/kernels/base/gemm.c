/* C (M, N) = A (M, K) B (K, N): packed and blocked (Goto and van de Geijn, 2008), or straight from the rows of A where
 * packing A would cost more than it saves. Every sum runs over k in one order, so the thread count changes no bit. */
#include "tile.h"

enum {
  KC = 384,                       /* depth of a block: a panel of B (KC x 2 vectors) fits L1 */
  MC_TILES = 6,                   /* tiles of rows in a block of A: fits L2 */
  NC = 2048,                      /* columns of B packed at a time */
  FEW_ROWS = 192,                 /* of A: then B is the large operand */
  TASK_COLUMNS = 128,             /* ... of which a task packs so many at a time, into its L2 */
  ROWS_DEPTH = 1024,              /* deepest product computed without packing A */
  ALIASING_PITCH = CACHE_WAY / 2, /* rows of A this many bytes apart fall into the same few cache sets */
  ROW_GAP = 16                    /* ... so packed rows get this many elements between them */
};

void FC(pad_row)(int64_t n, const real *values, real *padded) {
  memset(padded, 0, (size_t)padded_cols(n) * sizeof(real));
  if (values) memcpy(padded, values, (size_t)n * sizeof(real));
}

/* b (K, cols) with contiguous rows -> packed [K][width * VL] */
static void pack_rows_of_panel(int64_t K, int64_t cols, const real *b, int64_t b_row, int64_t full, real *packed) {
  for (int64_t k = 0; k < K; k++, b += b_row, packed += full)
    for (int64_t j = 0; j < full; j += VL) store(packed + j, load_n(b + j, min_i64(cols - j, VL)));
}

/* b (K, cols) with contiguous columns (b_row 1) or any strides -> packed [K][width * VL] */
static void pack_columns_of_panel(int64_t K, int64_t cols, const real *b, int64_t b_row, int64_t b_col, int64_t full,
                                  real *packed) {
  for (int64_t j = 0; j < full; j += VL)
    for (int64_t k = 0; k < K; k += VL) {
      int64_t width = min_i64(cols - j, VL), depth = min_i64(K - k, VL);
      if (width == VL && depth == VL && b_row == 1) {
        vec block[VL];
        for (int i = 0; i < VL; i++) block[i] = load(b + (j + i) * b_col + k);
        transpose(block);
        for (int i = 0; i < VL; i++) store(packed + (k + i) * full + j, block[i]);
        continue;
      }
      for (int64_t i = 0; i < depth; i++)
        for (int64_t l = 0; l < VL; l++)
          packed[(k + i) * full + j + l] = l < width ? b[(j + l) * b_col + (k + i) * b_row] : 0;
    }
}

void FC(pack_panel)(int64_t K, int64_t cols, const real *b, int64_t b_row, int64_t b_col, int64_t full, real *packed) {
  if (b_col == 1)
    pack_rows_of_panel(K, cols, b, b_row, full, packed);
  else
    pack_columns_of_panel(K, cols, b, b_row, b_col, full, packed);
}

void FC(pack_panels)(int64_t K, int64_t N, const real *b, int64_t b_row, int64_t b_col, real *packed) {
  /* A task reads whole rows of B through all panels, or long stretches of the columns of one. */
  int64_t at_once = b_col == 1 ? 32 : 512, panels = panel_count(N), parts = ceil_div(K, at_once);
#pragma omp parallel for collapse(2) num_threads(fc_threads_for(K *N)) schedule(static)
  for (int64_t s = 0; s < parts; s++)
    for (int64_t p = 0; p < panels; p++) {
      int64_t k = s * at_once, rows = min_i64(K - k, at_once);
      int64_t start = panel_start(p), full = (int64_t)panel_width(N, p) * VL, cols = min_i64(N - start, full);
      FC(pack_panel)(rows, cols, b + k * b_row + start * b_col, b_row, b_col, full, packed + start * K + k * full);
    }
}

/* a (rows, K) with contiguous columns -> packed [K][rows] */
static void pack_columns(int64_t rows, int64_t K, const real *a, int64_t a_row, int64_t a_col, real *packed) {
  for (int64_t k = 0; k < K; k++, packed += rows)
    if (a_row == 1)
      for (int64_t i = 0; i < rows; i += VL)
        store_n(packed + i, load_n(a + i + k * a_col, min_i64(rows - i, VL)), min_i64(rows - i, VL));
    else
      for (int64_t i = 0; i < rows; i++) packed[i] = a[i * a_row + k * a_col];
}

/* What the three ways share: operands, and the memory that they work with. */
typedef struct {
  const fc_gemm *g;
  const real *a, *b;
  real *c;
  fc_epilogue e; /* as far as tiles do it */
  fc_workspace memory;
  real *bias, *slope, *zeros; /* padded to whole vectors */
} job;

/* Takes the parts that the caller has named, and these. */
static int take(job *t) {
  int64_t N = t->g->N, padded = padded_cols(N);
  FC_PART(&t->memory, t->bias, padded);
  FC_PART(&t->memory, t->slope, padded);
  FC_PART(&t->memory, t->zeros, padded);
  if (!fc_workspace_take(&t->memory)) return 0;
  FC(pad_row)(N, t->e.bias, t->bias);
  FC(pad_row)(N, t->e.slope, t->slope);
  FC(pad_row)(N, NULL, t->zeros);
  return 1;
}

/* What tiles do with their sums at depths k .. k + depth of the columns from j on: the last depths finish them. */
static tile_output output_of(const job *t, int64_t j, int64_t k, int64_t depth) {
  int last = k + depth == t->g->K;
  return (tile_output){.accumulate = t->g->accumulate || k > 0,
                       .kind = last ? t->e.kind : FC_LINEAR,
                       .parameter = (real)t->e.parameter,
                       .bias = last ? t->bias + j : t->zeros,
                       .slope = t->slope + j};
}

/* The same for a panel of those columns. */
static tile_output panel_output(const tile_output *block, int64_t start, int64_t cols) {
  tile_output out = *block;
  out.cols = cols;
  out.bias += start;
  out.slope += start;
  return out;
}

/* Rows of A, a_pitch apart, and the same rows of C. */
typedef struct {
  int64_t count, a_pitch, c_pitch;
  const real *a;
  real *c;
} row_block;

/* A panel of B against rows of A that are read in place. */
static void panel_by_rows(const row_block *r, int64_t depth, const real *b, int width, const tile_output *out) {
  int height = tile_height(width);
  for (int64_t i = 0; i < r->count; i += height) {
    int mr = (int)min_i64(r->count - i, height);
    const real *row[MR_MAX];
    real *to[MR_MAX];
    for (int m = 0; m < mr; m++) row[m] = r->a + (i + m) * r->a_pitch, to[m] = r->c + (i + m) * r->c_pitch;
    FC(tile_rows)[width - 1][mr - 1](1, depth, row, MR_MAX, 0, b, to, out);
  }
}

/* A's rows are contiguous and B is small: every tile reads A through row pointers. */
static fc_status gemm_rows(job *t) {
  const fc_gemm *g = t->g;
  real *packed;
  FC_PART(&t->memory, packed, g->K * padded_cols(g->N));
  if (!take(t)) return FC_NO_MEMORY;
  FC(pack_panels)(g->K, g->N, t->b, g->b_row, g->b_col, packed);
  int64_t panels = panel_count(g->N), mr = tile_height(panel_width(g->N, 0)), tiles = ceil_div(g->M, mr);
  int64_t block = max_i64(1, min_i64(32, ceil_div(tiles, 16)));
  const tile_output all = output_of(t, 0, 0, g->K);
#pragma omp parallel for num_threads(fc_threads_for_macs(g->M * g->N * g->K)) schedule(dynamic)
  for (int64_t first = 0; first < tiles; first += block)
    for (int64_t p = 0; p < panels; p++) {
      int width = panel_width(g->N, p);
      int64_t start = panel_start(p), m = first * mr, end = min_i64(g->M, m + block * mr);
      row_block r = {end - m, g->a_row, g->c_row, t->a + m * g->a_row, t->c + m * g->c_row + start};
      tile_output out = panel_output(&all, start, min_i64(g->N - start, (int64_t)width * VL));
      panel_by_rows(&r, g->K, packed + start * g->K, width, &out);
    }
  fc_workspace_free(&t->memory);
  return FC_OK;
}

/* A panel of B against a block of A packed as tiles [depth][height]. */
static void panel_by_columns(const row_block *r, int64_t depth, const real *b, int width, const tile_output *out) {
  int height = tile_height(width);
  for (int64_t i = 0; i < r->count; i += height) {
    int64_t mr = min_i64(r->count - i, height);
    tile_segment s = {r->a + i * depth, b, depth};
    tile_outer_fn *update = FC(tile_outer)[width - 1][mr - 1];
    tile_operands in = {.segments = &s, .count = 1, .a_step = mr, .b_step = (int64_t)width * VL};
    update(&in, r->c + i * r->c_pitch, r->c_pitch, out);
  }
}

/* B, packed: some of its columns, at some of its depths. */
typedef struct {
  int64_t depth, cols;
  const real *packed;
  tile_output out; /* of the first column */
} b_block;

/* Rows of A against them: they are packed here, by the thread that uses them. */
static void block_of_rows(const fc_gemm *g, const row_block *rows, const b_block *b, real *packed) {
  int64_t depth = b->depth;
  int packed_height = 0;
  row_block r = {rows->count, depth + ROW_GAP, g->c_row, packed, NULL};
  if (g->a_col == 1)
    for (int64_t i = 0; i < r.count; i++)
      memcpy(packed + i * r.a_pitch, rows->a + i * g->a_row, (size_t)depth * sizeof(real));
  for (int64_t p = 0; p < panel_count(b->cols); p++) {
    int64_t start = panel_start(p);
    int width = panel_width(b->cols, p), height = tile_height(width);
    tile_output out = panel_output(&b->out, start, min_i64(b->cols - start, (int64_t)width * VL));
    r.c = rows->c + start;
    if (g->a_col == 1) {
      panel_by_rows(&r, depth, b->packed + start * depth, width, &out);
      continue;
    }
    if (height != packed_height)
      for (int64_t i = 0; i < r.count; i += height)
        pack_columns(min_i64(r.count - i, height), depth, rows->a + i * g->a_row, g->a_row, g->a_col,
                     packed + i * depth);
    packed_height = height;
    panel_by_columns(&r, depth, b->packed + start * depth, width, &out);
  }
}

static fc_status gemm_blocked(job *t) {
  const fc_gemm *g = t->g;
  int64_t mc = (int64_t)MC_TILES * tile_height(panel_width(g->N, 0));
  int64_t depth_max = min_i64(g->K, KC), threads = fc_threads_for_macs(g->M * g->N * g->K);
  int64_t size_a = mc * (depth_max + ROW_GAP);
  real *packed_a, *packed_b;
  FC_PART(&t->memory, packed_b, depth_max * padded_cols(min_i64(g->N, NC)));
  FC_PART(&t->memory, packed_a, threads * size_a);
  if (!take(t)) return FC_NO_MEMORY;
  for (int64_t j = 0; j < g->N; j += NC)
    for (int64_t k = 0; k < g->K; k += KC) {
      int64_t depth = min_i64(g->K - k, KC);
      const b_block b = {depth, min_i64(g->N - j, NC), packed_b, output_of(t, j, k, depth)};
      FC(pack_panels)(b.depth, b.cols, t->b + k * g->b_row + j * g->b_col, g->b_row, g->b_col, packed_b);
#pragma omp parallel num_threads(threads)
      {
        int64_t mine = fc_thread_number();
#pragma omp for schedule(dynamic)
        for (int64_t m = 0; m < g->M; m += mc) {
          row_block rows = {.count = min_i64(g->M - m, mc), .a = t->a + m * g->a_row + k * g->a_col};
          rows.c = t->c + m * g->c_row + j;
          block_of_rows(g, &rows, &b, packed_a + mine * size_a);
        }
      }
    }
  fc_workspace_free(&t->memory);
  return FC_OK;
}

/* Few rows: a task owns columns of C and packs its blocks of B itself, so that B is read from memory once. */
static fc_status gemm_columns(job *t) {
  const fc_gemm *g = t->g;
  /* long runs of B's rows a few rows at a time, or few of its columns, each whole */
  int64_t wide = TASK_COLUMNS * (g->b_col == 1 ? max_i64(1, min_i64(g->N / 3 / TASK_COLUMNS, 4)) : 1);
  int64_t at_once = g->b_col == 1 ? VL : KC, depth_max = min_i64(g->K, KC);
  int64_t threads = fc_threads_for_macs(g->M * g->N * g->K), size_b = depth_max * wide;
  int64_t size = size_b + g->M * (depth_max + ROW_GAP);
  real *packed;
  FC_PART(&t->memory, packed, threads * size);
  if (!take(t)) return FC_NO_MEMORY;
#pragma omp parallel num_threads(threads)
  {
    real *packed_b = packed + fc_thread_number() * size;
#pragma omp for schedule(dynamic)
    for (int64_t j = 0; j < g->N; j += wide)
      for (int64_t k = 0; k < g->K; k += KC) {
        int64_t cols = min_i64(g->N - j, wide), depth = min_i64(g->K - k, KC);
        for (int64_t row = 0; row < depth; row += at_once)
          for (int64_t panel = 0; panel < panel_count(cols); panel++) {
            int64_t start = panel_start(panel), full = (int64_t)panel_width(cols, panel) * VL;
            const real *from = t->b + (k + row) * g->b_row + (j + start) * g->b_col;
            FC(pack_panel)(min_i64(depth - row, at_once), min_i64(cols - start, full), from, g->b_row, g->b_col, full,
                           packed_b + start * depth + row * full);
          }
        b_block b = {depth, cols, packed_b, output_of(t, j, k, depth)};
        row_block rows = {.count = g->M, .a = t->a + k * g->a_col, .c = t->c + j};
        block_of_rows(g, &rows, &b, packed_b + size_b);
      }
  }
  fc_workspace_free(&t->memory);
  return FC_OK;
}

fc_status FC(gemm)(const fc_gemm *g, const void *a, const void *b, const fc_epilogue *e, void *c) {
  if (g->M == 0 || g->N == 0) return FC_OK;
  job t = {.g = g, .a = a, .b = b, .c = c, .e = *e};
  if (!fc_in_tile(e->kind)) t.e.kind = FC_LINEAR;
  int aliases = g->M > 8 && g->a_row * (int64_t)sizeof(real) % ALIASING_PITCH == 0;
  int small = g->K * padded_cols(g->N) * (int64_t)sizeof(real) <= GEMM_ROWS_BYTES; /* B */
  int by_rows = g->K == 0 || (g->a_col == 1 && !aliases && g->K <= ROWS_DEPTH && small);
  int by_columns = g->M <= FEW_ROWS && g->N > 2 * TASK_COLUMNS && !small;
  fc_status status = (by_rows ? gemm_rows : by_columns ? gemm_columns : gemm_blocked)(&t);
  if (status == FC_OK && t.e.kind != e->kind) {
    fc_epilogue rest = *e;
    rest.bias = NULL;
    status = FC(apply_epilogue)(g->M, g->N, g->c_row, &rest, c);
  }
  return status;
}
