/* The tables behind group_product.h: lanes of grouped channels, and phases of the two axes. */
#include "group_product.h"

#if defined(__AVX512F__)
enum { MASKS = 1 }; /* part of a vector costs no more than a whole one */
#else
enum { MASKS = 0 };
#endif

static int64_t first_input(const group_lanes *g, int64_t k) { return k / g->share * g->depth; }

fc_status FC(lanes_init)(group_lanes *g, int64_t inputs, int64_t outputs, int64_t groups) {
  *g = (group_lanes){inputs, outputs, inputs / groups, outputs / groups, .mode = LANES_EQUAL};
  g->vectors = ceil_div(outputs, VL);
  g->count = min_i64(outputs, VL);
  if (g->depth == 1 && g->share == 1) {
    if (g->count < VL) g->mode = LANES_PART;
    return FC_OK;
  }
  FC_PART(&g->memory, g->first, g->vectors);
  FC_PART(&g->memory, g->index, g->vectors);
  if (!fc_workspace_take(&g->memory)) return FC_NO_MEMORY;
  int64_t span = 0; /* of the inputs that one vector reads */
  for (int64_t v = 0; v < g->vectors; v++) {
    int64_t k = lanes_start(g, v);
    g->first[v] = first_input(g, k);
    g->index[v] = (ivec){0};
    for (int64_t l = 0; l < g->count; l++) {
      int64_t above = first_input(g, k + l) - g->first[v];
      g->index[v][l] = (integer)above;
      span = max_i64(span, above + 1);
    }
  }
  int whole = g->count == VL;
  g->mode = whole && span <= VL && inputs >= VL           ? LANES_ONE
            : whole && span <= 2 * VL && inputs >= 2 * VL ? LANES_TWO
                                                          : LANES_ANY;
  return FC_OK;
}

/* Is this pass faster here than group by group in implicit GEMM? Groups of more than half a vector fill that well, and
 * lanes that come one by one are slow. */
int FC(grouped_wins)(const fc_conv2d *d, fc_pass pass) {
  int64_t inputs = pass == FC_BACKWARD_DATA ? d->K : d->C, outputs = pass == FC_BACKWARD_DATA ? d->C : d->K;
  int64_t depth = inputs / d->G, share = outputs / d->G;
  if (d->G == 1) return 0;
  if (depth == 1 && share == 1) return outputs >= VL || (MASKS && outputs > VL / 4);
  if (inputs < VL || outputs < VL || ceil_div(VL - 1, share) * depth + 1 > 2 * VL) return 0;
  return depth == 1 || 2 * max_i64(depth, share) <= VL;
}

/* Scales of an axis: elements from one input to the next, and from one kernel position to the next. */
typedef struct {
  int64_t S, before, K, dilation, size, outputs, x_step, w_step;
} axis_geometry;

static void row_geometry(const fc_conv2d *d, int64_t pitch, int64_t W, int64_t size, axis_geometry *g) {
  *g = (axis_geometry){d->SH, d->PT, d->KH, d->DH, d->H, d->OH, W * pitch, d->KW * size};
}

static void col_geometry(const fc_conv2d *d, int64_t pitch, int64_t size, axis_geometry *g) {
  *g = (axis_geometry){d->SW, d->PL, d->KW, d->DW, d->W, d->OW, pitch, size};
}

/* Appends a tap to a phase whose arrays begin at `at`, each K long. */
static void add_tap(const axis_geometry *g, group_axis *a, int64_t *at, int64_t input, int64_t k) {
  at[a->taps] = input;
  at[g->K + a->taps] = input * g->x_step;
  at[2 * g->K + a->taps++] = k * g->w_step;
}

static void point_to(const axis_geometry *g, group_axis *a, const int64_t *at) {
  a->at = at, a->offset = at + g->K, a->weight = at + 2 * g->K;
}

static void forward_axis(const axis_geometry *g, group_axis *a, int64_t *numbers) {
  *a = (group_axis){.stride = 1, .count = g->outputs, .step = g->S, .size = g->size};
  for (int64_t k = 0; k < g->K; k++) add_tap(g, a, numbers, k * g->dilation - g->before, k);
  point_to(g, a, numbers);
}

/* A kernel position belongs to one phase, so all phases share one set of arrays. */
static void backward_axis(const axis_geometry *g, int64_t phases, group_axis *a, int64_t *numbers) {
  for (int64_t phase = 0; phase < phases; phase++, a++) {
    *a = (group_axis){.first = phase, .stride = g->S, .step = 1, .size = g->outputs};
    a->count = ceil_div(g->size - phase, g->S);
    for (int64_t k = g->K - 1; k >= 0; k--) {
      int64_t reach = phase + g->before - k * g->dilation;
      if (reach % g->S == 0) add_tap(g, a, numbers, reach / g->S, k);
    }
    point_to(g, a, numbers);
    numbers += a->taps;
  }
}

static fc_status reserve(group_axes *a, int64_t row_phases, int64_t col_phases, const fc_conv2d *d) {
  *a = (group_axes){.row_phases = row_phases, .col_phases = col_phases};
  FC_PART(&a->memory, a->phases, row_phases + col_phases);
  FC_PART(&a->memory, a->numbers, 3 * (d->KH + d->KW));
  return fc_workspace_take(&a->memory) ? FC_OK : FC_NO_MEMORY;
}

fc_status FC(group_axes_forward)(const fc_conv2d *d, int64_t size, group_axes *a) {
  axis_geometry rows, cols;
  row_geometry(d, d->x_pitch, d->W, size, &rows);
  col_geometry(d, d->x_pitch, size, &cols);
  fc_status status = reserve(a, 1, 1, d);
  if (status != FC_OK) return status;
  forward_axis(&rows, a->phases, a->numbers);
  forward_axis(&cols, a->phases + 1, a->numbers + 3 * d->KH);
  return FC_OK;
}

fc_status FC(group_axes_backward)(const fc_conv2d *d, int64_t size, group_axes *a) {
  axis_geometry rows, cols;
  row_geometry(d, d->y_pitch, d->OW, size, &rows);
  col_geometry(d, d->y_pitch, size, &cols);
  fc_status status = reserve(a, min_i64(d->SH, d->H), min_i64(d->SW, d->W), d);
  if (status != FC_OK) return status;
  backward_axis(&rows, a->row_phases, a->phases, a->numbers);
  backward_axis(&cols, a->col_phases, a->phases + a->row_phases, a->numbers + 3 * d->KH);
  return FC_OK;
}

int64_t FC(group_runs)(const group_axis *a, group_run *runs) {
  int64_t count = 0;
  for (int64_t g = 0; g < a->count; g++) {
    group_span s = group_taps(a, g);
    group_run *last = runs + count - 1;
    if (count && last->inside.first == s.first && last->inside.last == s.last)
      last->end = g + 1;
    else
      runs[count++] = (group_run){g, g + 1, s};
  }
  return count;
}
