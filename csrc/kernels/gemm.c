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

static tile_output epilogue_output(const fc_epilogue *e, const real *bias, const real *slope) {
  return (tile_output){.kind = e->kind, .parameter = (real)e->parameter, .bias = bias, .slope = slope};
}

/* A panel of B against a block of A whose rows lie pitch apart. */
static void panel_by_rows(int64_t rows, int64_t depth, const real *a, int64_t pitch, const real *b, int width, real *c,
                          int64_t c_row, const tile_output *out) {
  int height = tile_height(width);
  for (int64_t i = 0; i < rows; i += height) {
    int mr = (int)min_i64(rows - i, height);
    const real *row[MR_MAX];
    real *to[MR_MAX];
    for (int r = 0; r < mr; r++) row[r] = a + (i + r) * pitch, to[r] = c + (i + r) * c_row;
    FC(tile_rows)[width - 1][mr - 1](1, depth, row, MR_MAX, 0, b, to, out);
  }
}

/* A's rows are contiguous and B is small: every tile reads A through row pointers. */
static fc_status gemm_rows(const fc_gemm *g, const real *a, const real *b, const fc_epilogue *e, const real *bias,
                           const real *slope, real *c) {
  int64_t padded = padded_cols(g->N);
  real *packed = fc_alloc((size_t)(g->K * padded) * sizeof(real));
  if (!packed) return FC_NO_MEMORY;
  FC(pack_panels)(g->K, g->N, b, g->b_row, g->b_col, packed);
  int64_t panels = panel_count(g->N), mr = tile_height(panel_width(g->N, 0)), tiles = ceil_div(g->M, mr);
  int64_t block = max_i64(1, min_i64(32, ceil_div(tiles, 16)));
#pragma omp parallel for num_threads(fc_threads_for_macs(g->M * g->N * g->K)) schedule(dynamic)
  for (int64_t first = 0; first < tiles; first += block)
    for (int64_t p = 0; p < panels; p++) {
      int width = panel_width(g->N, p);
      int64_t start = panel_start(p), end = min_i64(g->M, (first + block) * mr);
      tile_output out = epilogue_output(e, bias + start, slope ? slope + start : NULL);
      out.cols = min_i64(g->N - start, (int64_t)width * VL);
      out.accumulate = g->accumulate;
      panel_by_rows(end - first * mr, g->K, a + first * mr * g->a_row, g->a_row, packed + start * g->K, width,
                    c + first * mr * g->c_row + start, g->c_row, &out);
    }
  fc_free(packed);
  return FC_OK;
}

/* A panel of B against a block of A packed as tiles [depth][height]. */
static void panel_by_columns(int64_t rows, int64_t depth, const real *a, const real *b, int width, real *c,
                             int64_t c_row, const tile_output *out) {
  int height = tile_height(width);
  for (int64_t i = 0; i < rows; i += height) {
    int64_t mr = min_i64(rows - i, height);
    tile_segment s = {a + i * depth, b, depth};
    tile_operands in = {.segments = &s, .count = 1, .a_step = mr, .b_step = (int64_t)width * VL};
    FC(tile_outer)[width - 1][mr - 1](&in, c + i * c_row, c_row, out);
  }
}

/* One block of rows against the packed columns: a (rows, depth) is packed here, by the thread that uses it. */
static void block_of_rows(const fc_gemm *g, const real *a, int64_t rows, int64_t depth, int64_t cols,
                          const real *packed_b, real *packed_a, tile_output out, real *c) {
  const real *bias = out.bias, *slope = out.slope;
  int64_t panels = panel_count(cols), pitch = depth + ROW_GAP;
  int packed_height = 0;
  if (g->a_col == 1)
    for (int64_t i = 0; i < rows; i++) memcpy(packed_a + i * pitch, a + i * g->a_row, (size_t)depth * sizeof(real));
  for (int64_t p = 0; p < panels; p++) {
    int64_t start = panel_start(p);
    int width = panel_width(cols, p), height = tile_height(width);
    out.cols = min_i64(cols - start, (int64_t)width * VL);
    out.bias = bias + start;
    out.slope = slope ? slope + start : NULL;
    if (g->a_col == 1) {
      panel_by_rows(rows, depth, packed_a, pitch, packed_b + start * depth, width, c + start, g->c_row, &out);
      continue;
    }
    if (height != packed_height)
      for (int64_t i = 0; i < rows; i += height)
        pack_columns(min_i64(rows - i, height), depth, a + i * g->a_row, g->a_row, g->a_col, packed_a + i * depth);
    packed_height = height;
    panel_by_columns(rows, depth, packed_a, packed_b + start * depth, width, c + start, g->c_row, &out);
  }
}

/* What the block of columns from j on does with its sums at depths k .. k + depth: the last one finishes them. */
static tile_output block_output(const fc_gemm *g, const fc_epilogue *e, const real *bias, const real *slope,
                                const real *zeros, int64_t j, int64_t k, int64_t depth) {
  int last = k + depth == g->K;
  tile_output out = epilogue_output(e, last ? bias + j : zeros, slope ? slope + j : NULL);
  if (!last) out.kind = FC_LINEAR;
  out.accumulate = g->accumulate || k > 0;
  return out;
}

static fc_status gemm_blocked(const fc_gemm *g, const real *a, const real *b, const fc_epilogue *e, const real *bias,
                              const real *slope, const real *zeros, real *c) {
  int64_t mc = (int64_t)MC_TILES * tile_height(panel_width(g->N, 0)), blocks = ceil_div(g->M, mc);
  int64_t depth_max = min_i64(g->K, KC), threads = fc_threads_for_macs(g->M * g->N * g->K);
  real *packed_b = fc_alloc((size_t)(depth_max * padded_cols(min_i64(g->N, NC))) * sizeof(real));
  real *packed_a = fc_alloc((size_t)(threads * mc * (depth_max + ROW_GAP)) * sizeof(real));
  int64_t next = 0, slice_size = mc * (depth_max + ROW_GAP); /* packed_a: one slice a thread */
  if (!packed_a || !packed_b) {
    fc_free(packed_a);
    fc_free(packed_b);
    return FC_NO_MEMORY;
  }
  for (int64_t j = 0; j < g->N; j += NC)
    for (int64_t k = 0; k < g->K; k += KC) {
      int64_t cols = min_i64(g->N - j, NC), depth = min_i64(g->K - k, KC);
      FC(pack_panels)(depth, cols, b + k * g->b_row + j * g->b_col, g->b_row, g->b_col, packed_b);
      tile_output out = block_output(g, e, bias, slope, zeros, j, k, depth);
      next = 0;
#pragma omp parallel num_threads(threads)
      {
        int64_t slice;
#pragma omp atomic capture
        slice = next++;
#pragma omp for schedule(dynamic)
        for (int64_t m = 0; m < blocks; m++)
          block_of_rows(g, a + m * mc * g->a_row + k * g->a_col, min_i64(g->M - m * mc, mc), depth, cols, packed_b,
                        packed_a + slice * slice_size, out, c + m * mc * g->c_row + j);
      }
    }
  fc_free(packed_a);
  fc_free(packed_b);
  return FC_OK;
}

/* Few rows: a task owns columns of C and packs its blocks of B itself, so that B is read from memory once. */
static fc_status gemm_columns(const fc_gemm *g, const real *a, const real *b, const fc_epilogue *e, const real *bias,
                              const real *slope, const real *zeros, real *c) {
  /* long runs of B's rows a few rows at a time, or few of its columns, each whole */
  int64_t wide = TASK_COLUMNS * (g->b_col == 1 ? max_i64(1, min_i64(g->N / 3 / TASK_COLUMNS, 4)) : 1);
  int64_t strip = g->b_col == 1 ? VL : KC, depth_max = min_i64(g->K, KC), tasks = ceil_div(g->N, wide);
  int64_t threads = fc_threads_for_macs(g->M * g->N * g->K), size_b = depth_max * wide;
  int64_t size = size_b + g->M * (depth_max + ROW_GAP), next = 0;
  real *packed = fc_alloc((size_t)(threads * size) * sizeof(real));
  if (!packed) return FC_NO_MEMORY;
#pragma omp parallel num_threads(threads)
  {
    int64_t mine;
#pragma omp atomic capture
    mine = next++;
    real *packed_b = packed + mine * size;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++)
      for (int64_t k = 0; k < g->K; k += KC) {
        int64_t j = task * wide, cols = min_i64(g->N - j, wide), depth = min_i64(g->K - k, KC);
        for (int64_t row = 0; row < depth; row += strip)
          for (int64_t panel = 0; panel < panel_count(cols); panel++) {
            int64_t start = panel_start(panel), full = (int64_t)panel_width(cols, panel) * VL;
            const real *from = b + (k + row) * g->b_row + (j + start) * g->b_col;
            FC(pack_panel)(min_i64(depth - row, strip), min_i64(cols - start, full), from, g->b_row, g->b_col, full,
                           packed_b + start * depth + row * full);
          }
        tile_output out = block_output(g, e, bias, slope, zeros, j, k, depth);
        block_of_rows(g, a + k * g->a_col, g->M, depth, cols, packed_b, packed_b + size_b, out, c + j);
      }
  }
  fc_free(packed);
  return FC_OK;
}

fc_status FC(gemm)(const fc_gemm *g, const void *a, const void *b, const fc_epilogue *e, void *c) {
  if (g->M == 0 || g->N == 0) return FC_OK;
  int64_t padded = padded_cols(g->N);
  real *rows = fc_alloc((size_t)(3 * padded) * sizeof(real)); /* bias, slope, zeros */
  if (!rows) return FC_NO_MEMORY;
  FC(pad_row)(g->N, e->bias, rows);
  FC(pad_row)(g->N, e->slope, rows + padded);
  FC(pad_row)(g->N, NULL, rows + 2 * padded);
  const real *slope = e->slope ? rows + padded : NULL;

  fc_epilogue in_tile = *e;
  if (!fc_in_tile(e->kind)) in_tile.kind = FC_LINEAR;
  int aliases = g->M > 8 && g->a_row * (int64_t)sizeof(real) % ALIASING_PITCH == 0;
  int by_rows = g->K == 0 || (g->a_col == 1 && !aliases && g->K <= ROWS_DEPTH &&
                              g->K * padded * (int64_t)sizeof(real) <= ROWS_BYTES);
  int by_columns = g->M <= FEW_ROWS && g->N > 2 * TASK_COLUMNS && g->K * padded * (int64_t)sizeof(real) > ROWS_BYTES;
  fc_status status = by_rows      ? gemm_rows(g, a, b, &in_tile, rows, slope, c)
                     : by_columns ? gemm_columns(g, a, b, &in_tile, rows, slope, rows + 2 * padded, c)
                                  : gemm_blocked(g, a, b, &in_tile, rows, slope, rows + 2 * padded, c);
  if (status == FC_OK && in_tile.kind != e->kind) {
    fc_epilogue rest = *e;
    rest.bias = NULL;
    status = FC(apply_epilogue)(g->M, g->N, g->c_row, &rest, c);
  }
  fc_free(rows);
  return status;
}
