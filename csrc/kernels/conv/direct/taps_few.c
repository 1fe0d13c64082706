/* A tap product with few columns: as a row of channels they would leave most lanes empty, so here the lanes are
 * neighbouring pixels. The input of a band of grid rows is copied channel by channel into planes with the padding in
 * place; a tap is then an offset into a plane, and a tile is a few columns by 3 vectors of pixels.
 *
 *      a plane of the input            output column k += weight[tap, k] * the plane from the tap's offset on
 *      0 0 0 0 0 0
 *      0 a b c d 0   tap (0, 0):  0 0 0 0 | 0 0 a b ...      The last columns of every row (wide - GW) mix two rows;
 *      0 e f g h 0   tap (1, 1):  a b c d | 0 0 e f ...      they are computed and left behind.
 *      0 0 0 0 0 0
 *
 * In (N, H, W, pitch), weights (taps, depth, cols), out: the grid's pixels of (N, out_h, out_w, out_pitch), steps 1. */
#include "taps.h"

enum { WIDTH = 3, MOST_ROWS = 32, MOST_COLUMNS = (int)(FC_VEC_BYTES / sizeof(real)) / 2 };

typedef struct {
  int64_t top, left, bottom, right; /* how far the taps reach */
  int64_t wide;                     /* pixels of a plane's row, of which the grid uses the first GW */
  int64_t rows, bands;              /* grid rows of a band, bands of an image */
  int64_t plane, flat;              /* elements of an input plane; of an output plane, whole tiles */
} few_plan;

static few_plan plan_work(const tap_product *p) {
  few_plan f = {p->tap[0].h, p->tap[0].w, p->tap[0].h, p->tap[0].w, 0, 0, 0, 0, 0};
  for (int64_t t = 0; t < p->taps; t++) {
    f.top = min_i64(f.top, p->tap[t].h), f.bottom = max_i64(f.bottom, p->tap[t].h);
    f.left = min_i64(f.left, p->tap[t].w), f.right = max_i64(f.right, p->tap[t].w);
  }
  int64_t reach = f.bottom - f.top;
  f.wide = p->GW + f.right - f.left;
  int64_t fit = PLANES_BYTES / (int64_t)sizeof(real) / (p->depth * f.wide) - reach;
  f.rows = min_i64(max_i64(1, fit), min_i64(MOST_ROWS, p->GH));
  f.bands = ceil_div(p->GH, f.rows);
  f.flat = ceil_div(f.rows * f.wide, WIDTH * VL) * WIDTH * VL;
  f.plane = (f.rows + reach) * f.wide + (WIDTH + 1) * VL; /* the last tile and offset read past the rows */
  return f;
}

int FC(few_columns)(const tap_product *p) {
  if (p->depth != p->weights.depth) return 0; /* merged */
  if (p->cols > MOST_COLUMNS || p->taps < 4 || p->step_h != 1 || p->step_w != 1 || p->output.kind > FC_LEAKY_RELU)
    return 0;
  few_plan f = plan_work(p);
  return 3 * p->GW >= 2 * f.wide && f.rows >= min_i64(p->GH, f.bottom - f.top);
}

/* [column][pixel], planes flat apart -> count pixels of cols columns */
static void from_planes(const real *planes, int64_t count, int64_t cols, int64_t flat, int64_t step, real *y) {
  for (int64_t i = 0; i < count; i += VL) {
    vec block[VL];
    UNROLL(16)
    for (int c = 0; c < VL; c++) block[c] = c < MOST_COLUMNS ? load(planes + c * flat + i) : (vec){0};
    transpose(block);
    real *to = y + i * step;
    if (count - i < VL)
      for (int64_t r = 0; r < count - i; r++) store_part(to + r * step, block[r], cols);
    else
      UNROLL(16)
    for (int r = 0; r < VL; r++, to += step) store_part(to, block[r], cols);
  }
}

/* What all threads read, and what one works with. */
typedef struct {
  const real *packed, *zeros;
} few_weights;
typedef struct {
  tile_segment *segments;
  real *in, *out; /* planes */
} few_scratch;

/* The taps as segments of a tile's sum; returns how many. */
static int64_t find_segments(const tap_product *p, const few_plan *f, const real *packed, const few_scratch *s) {
  int64_t count = 0;
  for (int64_t t = 0; t < p->taps; t++) {
    if (p->depth == 1 && t > 0 && p->tap[t].h == p->tap[t - 1].h && p->tap[t].w == p->tap[t - 1].w + 1) {
      s->segments[count - 1].steps++; /* in one channel the next tap is the next step */
      continue;
    }
    const real *offset = s->in + (p->tap[t].h - f->top) * f->wide + p->tap[t].w - f->left;
    s->segments[count++] = (tile_segment){packed + t * p->depth * VL, offset, p->depth};
  }
  return count;
}

static void run_band(const tap_product *p, const few_plan *f, int64_t band, const few_weights *w,
                     const few_scratch *s) {
  int64_t n = band / f->bands, first = band % f->bands * f->rows, rows = min_i64(f->rows, p->GH - first);
  memset(s->in, 0, (size_t)(p->depth * f->plane + WIDTH * VL) * sizeof(real));
  tap_band input = {first + f->top, f->left, rows + f->bottom - f->top, f->wide, f->plane};
  FC(band_to_planes)(&p->in, p->depth, n, &input, s->in);
  int64_t segments = find_segments(p, f, w->packed, s);
  for (int64_t c = 0; c < p->cols; c++)
    for (int64_t i = 0; i < f->flat; i++) s->out[c * f->flat + i] = p->output.bias[c];
  tile_output out = {.accumulate = 1, .kind = p->output.kind, .parameter = p->output.parameter, .bias = w->zeros};
  tile_operands operands = {s->segments, segments, 0, VL, 0, p->depth == 1 ? 1 : f->plane};
  for (int64_t i = 0; i < rows * f->wide; i += WIDTH * VL) {
    int64_t width = min_i64(WIDTH, ceil_div(rows * f->wide - i, VL));
    out.cols = width * VL;
    operands.b_first = i;
    FC(tile_outer)[width - 1][p->cols - 1](&operands, s->out + i, f->flat, &out);
  }
  for (int64_t r = 0; r < rows; r++) {
    int64_t h = p->first_h + (first + r) * p->stride_h;
    from_planes(s->out + r * f->wide, p->GW, p->cols, f->flat, p->stride_w * p->out_pitch,
                p->out + ((n * p->out_h + h) * p->out_w + p->first_w) * p->out_pitch);
  }
}

fc_status FC(few_columns_run)(const tap_product *p) {
  few_plan f = plan_work(p);
  int64_t threads = fc_threads_for_macs(p->in.N * p->GH * f.wide * (p->cols * p->taps + VL) * p->depth);
  int64_t inputs = p->depth * f.plane + WIDTH * VL, outputs = MOST_COLUMNS * f.flat + VL;
  fc_workspace memory = {0};
  real *zeros, *packed, *in, *out;
  tile_segment *segments;
  FC_PART(&memory, zeros, WIDTH * VL);
  FC_PART(&memory, packed, p->taps * p->depth * VL);
  FC_PART(&memory, in, threads * inputs);
  FC_PART(&memory, out, threads * outputs);
  FC_PART(&memory, segments, threads * p->taps);
  if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
  const tap_weights *w = &p->weights;
  memset(zeros, 0, (size_t)(WIDTH * VL) * sizeof(real));
  for (int64_t t = 0; t < p->taps; t++)
    FC(pack_panel)(p->depth, p->cols, w->tap[t], w->row, w->col, VL, packed + t * p->depth * VL);
  few_weights weights = {packed, zeros};
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    few_scratch s = {segments + mine * p->taps, in + mine * inputs, out + mine * outputs};
#pragma omp for schedule(dynamic)
    for (int64_t band = 0; band < p->in.N * f.bands; band++) run_band(p, &f, band, &weights, &s);
  }
  fc_workspace_free(&memory);
  return FC_OK;
}
