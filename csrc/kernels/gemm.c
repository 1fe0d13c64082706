/* C (M, N) = A (M, K) B (K, N): packed and blocked (Goto and van de Geijn, 2008), or straight from the rows of A where
 * packing A would cost more than it saves. Every sum runs over k in one order, so the thread count changes no bit. */
#include "tile.h"

enum {
  KC = 384,              /* depth of a block: a panel of B (KC x 2 vectors) fits L1 */
  MC_TILES = 6,          /* tiles of rows in a block of A: fits L2 */
  NC = 2048,             /* columns of B packed at a time */
  FEW_ROWS = 192,        /* of A: then B is the large operand */
  TASK_COLUMNS = 128,    /* ... of which a task packs so many at a time, into its L2 */
  ROWS_DEPTH = 1024,     /* deepest product computed without packing A */
  ROWS_BYTES = 1 << 20,  /* largest packed B for that */
  ALIASING_PITCH = 2048, /* rows of A this many bytes apart fall into the same few cache sets */
  ROW_GAP = 16           /* ... so packed rows get this many elements between them */
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
  int64_t strip = b_col == 1 ? 32 : 512, panels = panel_count(N), strips = ceil_div(K, strip);
#pragma omp parallel for collapse(2) num_threads(fc_threads_for(K *N)) schedule(static)
  for (int64_t s = 0; s < strips; s++)
    for (int64_t p = 0; p < panels; p++) {
      int64_t k = s * strip, rows = min_i64(K - k, strip);
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

/* One product, and the memory that it works with. */
typedef struct {
  const fc_gemm *g;
  const real *a, *b;
  real *c;
  fc_epilogue e; /* as far as tiles do it */
  fc_workspace memory;
  real *bias, *slope, *zeros; /* padded rows */
} product;

/* Takes the parts that the caller has named, and these. */
static int take(product *p) {
  int64_t N = p->g->N, padded = padded_cols(N);
  FC_PART(&p->memory, p->bias, padded);
  FC_PART(&p->memory, p->slope, padded);
  FC_PART(&p->memory, p->zeros, padded);
  if (!fc_workspace_take(&p->memory)) return 0;
  FC(pad_row)(N, p->e.bias, p->bias);
  FC(pad_row)(N, p->e.slope, p->slope);
  FC(pad_row)(N, NULL, p->zeros);
  return 1;
}

/* What columns from j on do with their sums at depths k .. k + depth - 1: the last ones finish them. */
static tile_output output_of(const product *p, int64_t j, int64_t k, int64_t depth) {
  int last = k + depth == p->g->K;
  return (tile_output){.kind = last ? p->e.kind : FC_LINEAR,
                       .parameter = (real)p->e.parameter,
                       .accumulate = p->g->accumulate || k > 0,
                       .bias = last ? p->bias + j : p->zeros,
                       .slope = p->slope + j};
}

/* A block of A (rows, depth), rows pitch apart. */
typedef struct {
  const real *data;
  int64_t rows, depth, pitch;
} a_rows;

/* A panel of B against a block of A whose rows are contiguous. */
static void panel_by_rows(const a_rows *a, const real *b, int width, real *c, int64_t c_row, const tile_output *out) {
  int height = tile_height(width);
  for (int64_t i = 0; i < a->rows; i += height) {
    int mr = (int)min_i64(a->rows - i, height);
    const real *row[MR_MAX];
    real *to[MR_MAX];
    for (int r = 0; r < mr; r++) row[r] = a->data + (i + r) * a->pitch, to[r] = c + (i + r) * c_row;
    FC(tile_rows)[width - 1][mr - 1](1, a->depth, row, MR_MAX, 0, b, to, out);
  }
}

/* A's rows are contiguous and B is small: every tile reads A through row pointers. */
static fc_status gemm_rows(product *p) {
  const fc_gemm *g = p->g;
  real *packed;
  FC_PART(&p->memory, packed, g->K * padded_cols(g->N));
  if (!take(p)) return FC_NO_MEMORY;
  FC(pack_panels)(g->K, g->N, p->b, g->b_row, g->b_col, packed);
  int64_t panels = panel_count(g->N), mr = tile_height(panel_width(g->N, 0)), tiles = ceil_div(g->M, mr);
  int64_t block = max_i64(1, min_i64(32, ceil_div(tiles, 16)));
#pragma omp parallel for num_threads(fc_threads_for_macs(g->M * g->N * g->K)) schedule(dynamic)
  for (int64_t first = 0; first < tiles; first += block)
    for (int64_t panel = 0; panel < panels; panel++) {
      int width = panel_width(g->N, panel);
      int64_t start = panel_start(panel), end = min_i64(g->M, (first + block) * mr);
      tile_output out = output_of(p, start, 0, g->K);
      out.cols = min_i64(g->N - start, (int64_t)width * VL);
      a_rows rows = {p->a + first * mr * g->a_row, end - first * mr, g->K, g->a_row};
      panel_by_rows(&rows, packed + start * g->K, width, p->c + first * mr * g->c_row + start, g->c_row, &out);
    }
  fc_workspace_free(&p->memory);
  return FC_OK;
}

/* A panel of B against a block of A packed as tiles [depth][height]. */
static void panel_by_columns(const a_rows *a, const real *b, int width, real *c, int64_t c_row,
                             const tile_output *out) {
  int height = tile_height(width);
  for (int64_t i = 0; i < a->rows; i += height) {
    int64_t mr = min_i64(a->rows - i, height);
    tile_segment s = {a->data + i * a->depth, b, a->depth};
    tile_operands in = {.segments = &s, .count = 1, .a_step = mr, .b_step = (int64_t)width * VL};
    FC(tile_outer)[width - 1][mr - 1](&in, c + i * c_row, c_row, out);
  }
}

/* One block of rows against cols packed columns. */
typedef struct {
  const real *a; /* (rows, depth) as it lies in A: packed here, by the thread that uses it */
  int64_t rows, depth, cols;
  const real *packed_b;
  real *packed_a, *c;
} block_product;

static void block_of_rows(const fc_gemm *g, const block_product *p, tile_output out) {
  const real *bias = out.bias, *slope = out.slope;
  a_rows a = {p->packed_a, p->rows, p->depth, p->depth + ROW_GAP};
  int packed_height = 0;
  if (g->a_col == 1)
    for (int64_t i = 0; i < p->rows; i++)
      memcpy(p->packed_a + i * a.pitch, p->a + i * g->a_row, (size_t)p->depth * sizeof(real));
  for (int64_t panel = 0; panel < panel_count(p->cols); panel++) {
    int64_t start = panel_start(panel);
    int width = panel_width(p->cols, panel), height = tile_height(width);
    const real *b = p->packed_b + start * p->depth;
    out.cols = min_i64(p->cols - start, (int64_t)width * VL);
    out.bias = bias + start;
    out.slope = slope + start;
    if (g->a_col == 1) {
      panel_by_rows(&a, b, width, p->c + start, g->c_row, &out);
      continue;
    }
    if (height != packed_height)
      for (int64_t i = 0; i < p->rows; i += height)
        pack_columns(min_i64(p->rows - i, height), p->depth, p->a + i * g->a_row, g->a_row, g->a_col,
                     p->packed_a + i * p->depth);
    packed_height = height;
    panel_by_columns(&a, b, width, p->c + start, g->c_row, &out);
  }
}

static fc_status gemm_blocked(product *p) {
  const fc_gemm *g = p->g;
  int64_t mc = (int64_t)MC_TILES * tile_height(panel_width(g->N, 0)), blocks = ceil_div(g->M, mc);
  int64_t depth_max = min_i64(g->K, KC), threads = fc_threads_for_macs(g->M * g->N * g->K);
  int64_t next = 0, slice = mc * (depth_max + ROW_GAP); /* packed_a: one slice a thread */
  real *packed_a, *packed_b;
  FC_PART(&p->memory, packed_b, depth_max * padded_cols(min_i64(g->N, NC)));
  FC_PART(&p->memory, packed_a, threads * slice);
  if (!take(p)) return FC_NO_MEMORY;
  for (int64_t j = 0; j < g->N; j += NC)
    for (int64_t k = 0; k < g->K; k += KC) {
      int64_t cols = min_i64(g->N - j, NC), depth = min_i64(g->K - k, KC);
      FC(pack_panels)(depth, cols, p->b + k * g->b_row + j * g->b_col, g->b_row, g->b_col, packed_b);
      tile_output out = output_of(p, j, k, depth);
      next = 0;
#pragma omp parallel num_threads(threads)
      {
        int64_t mine;
#pragma omp atomic capture
        mine = next++;
#pragma omp for schedule(dynamic)
        for (int64_t m = 0; m < blocks; m++) {
          const real *a = p->a + m * mc * g->a_row + k * g->a_col;
          block_product one = {.a = a, .rows = min_i64(g->M - m * mc, mc), .depth = depth, .cols = cols};
          one.packed_b = packed_b, one.packed_a = packed_a + mine * slice, one.c = p->c + m * mc * g->c_row + j;
          block_of_rows(g, &one, out);
        }
      }
    }
  fc_workspace_free(&p->memory);
  return FC_OK;
}

/* B (depth, cols) from (k, j) on -> packed panels, a strip of rows at a time. */
static void pack_block(const product *p, int64_t k, int64_t j, int64_t depth, int64_t cols, real *packed) {
  const fc_gemm *g = p->g;
  int64_t strip = g->b_col == 1 ? VL : KC;
  for (int64_t row = 0; row < depth; row += strip)
    for (int64_t panel = 0; panel < panel_count(cols); panel++) {
      int64_t start = panel_start(panel), full = (int64_t)panel_width(cols, panel) * VL;
      const real *from = p->b + (k + row) * g->b_row + (j + start) * g->b_col;
      FC(pack_panel)(min_i64(depth - row, strip), min_i64(cols - start, full), from, g->b_row, g->b_col, full,
                     packed + start * depth + row * full);
    }
}

/* Few rows: a task owns columns of C and packs its blocks of B itself, so that B is read from memory once. */
static fc_status gemm_columns(product *p) {
  const fc_gemm *g = p->g;
  /* long runs of B's rows a few rows at a time, or few of its columns, each whole */
  int64_t wide = TASK_COLUMNS * (g->b_col == 1 ? max_i64(1, min_i64(g->N / 3 / TASK_COLUMNS, 4)) : 1);
  int64_t depth_max = min_i64(g->K, KC), tasks = ceil_div(g->N, wide);
  int64_t threads = fc_threads_for_macs(g->M * g->N * g->K), next = 0;
  int64_t size_a = g->M * (depth_max + ROW_GAP), size_b = depth_max * wide;
  real *packed;
  FC_PART(&p->memory, packed, threads * (size_b + size_a));
  if (!take(p)) return FC_NO_MEMORY;
#pragma omp parallel num_threads(threads)
  {
    int64_t mine;
#pragma omp atomic capture
    mine = next++;
    real *packed_b = packed + mine * (size_b + size_a);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++)
      for (int64_t k = 0; k < g->K; k += KC) {
        int64_t j = task * wide, cols = min_i64(g->N - j, wide), depth = min_i64(g->K - k, KC);
        pack_block(p, k, j, depth, cols, packed_b);
        block_product one = {.a = p->a + k * g->a_col, .rows = g->M, .depth = depth, .cols = cols};
        one.packed_b = packed_b, one.packed_a = packed_b + size_b, one.c = p->c + j;
        block_of_rows(g, &one, output_of(p, j, k, depth));
      }
  }
  fc_workspace_free(&p->memory);
  return FC_OK;
}

fc_status FC(gemm)(const fc_gemm *g, const void *a, const void *b, const fc_epilogue *e, void *c) {
  if (g->M == 0 || g->N == 0) return FC_OK;
  product p = {.g = g, .a = a, .b = b, .c = c, .e = *e};
  if (!fc_in_tile(e->kind)) p.e.kind = FC_LINEAR;
  int64_t bytes = g->K * padded_cols(g->N) * (int64_t)sizeof(real); /* of packed B */
  int aliases = g->M > 8 && g->a_row * (int64_t)sizeof(real) % ALIASING_PITCH == 0;
  int by_rows = g->K == 0 || (g->a_col == 1 && !aliases && g->K <= ROWS_DEPTH && bytes <= ROWS_BYTES);
  int by_columns = g->M <= FEW_ROWS && g->N > 2 * TASK_COLUMNS && bytes > ROWS_BYTES;
  fc_status status = (by_rows ? gemm_rows : by_columns ? gemm_columns : gemm_blocked)(&p);
  if (status == FC_OK && p.e.kind != e->kind) {
    fc_epilogue rest = *e;
    rest.bias = NULL;
    status = FC(apply_epilogue)(g->M, g->N, g->c_row, &rest, c);
  }
  return status;
}
