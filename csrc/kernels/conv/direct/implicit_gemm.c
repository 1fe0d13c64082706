/* Implicit GEMM, forward and backward data: M = output pixels, N = filters, depth = taps x channels, no column matrix.
 * x (N, H, W, C), w (KH, KW, C/G, K), y and dy (N, OH, OW, K). */
#include "taps.h"

/* What a product points to. */
typedef struct {
  real *bias, *slope; /* padded */
  tap *taps;
  const real **filter; /* the weights of each tap */
  int64_t *index;      /* of backward data: the taps of a phase, see below */
} product_parts;

static int reserve(fc_workspace *memory, product_parts *s, const fc_conv2d *d, int64_t cols) {
  FC_PART(memory, s->taps, d->KH * d->KW);
  FC_PART(memory, s->filter, d->KH * d->KW);
  FC_PART(memory, s->bias, padded_cols(cols));
  FC_PART(memory, s->slope, padded_cols(cols));
  FC_PART(memory, s->index, 2 * (d->KH + d->KW));
  return fc_workspace_take(memory);
}

static fc_status forward_group(const fc_conv2d *d, int64_t g, const real *x, const real *w, const fc_epilogue *e,
                               real *y) {
  int64_t Cg = d->C / d->G, Kg = d->K / d->G, taps = d->KH * d->KW;
  fc_workspace memory = {0};
  product_parts s;
  if (!reserve(&memory, &s, d, Kg)) return FC_NO_MEMORY;
  const real *bias = e->bias, *slope = e->slope;
  FC(pad_row)(Kg, bias ? bias + g * Kg : NULL, s.bias);
  FC(pad_row)(Kg, slope ? slope + g * Kg : NULL, s.slope);
  for (int64_t t = 0; t < taps; t++) {
    s.taps[t] = (tap){t / d->KW * d->DH - d->PT, t % d->KW * d->DW - d->PL};
    s.filter[t] = w + t * Cg * d->K + g * Kg;
  }
  tap_product p = {.in = {x + g * Cg, d->N, d->H, d->W, d->x_pitch},
                   .GH = d->OH,
                   .GW = d->OW,
                   .step_h = d->SH,
                   .step_w = d->SW,
                   .taps = taps,
                   .depth = Cg,
                   .tap = s.taps,
                   .weights = {s.filter, taps, Cg, d->K, 1},
                   .out = y + g * Kg,
                   .out_h = d->OH,
                   .out_w = d->OW,
                   .out_pitch = d->y_pitch,
                   .stride_h = 1,
                   .stride_w = 1,
                   .cols = Kg};
  p.output = (tile_output){.kind = e->kind, .parameter = (real)e->parameter, .bias = s.bias};
  if (slope) p.output.slope = s.slope;
  real *copy = NULL;
  fc_status status = d->DW == 1 ? FC(merge_taps)(&p, s.taps, d->KW, &copy) : FC_OK;
  if (status == FC_OK) status = FC(tap_product_run)(&p);
  fc_free(copy);
  fc_workspace_free(&memory);
  return status;
}

fc_status FC(conv2d_forward_implicit_gemm)(const fc_conv2d *d, const void *x, const void *w, const fc_epilogue *e,
                                           void *y) {
  fc_status status = FC_OK;
  for (int64_t g = 0; g < d->G && status == FC_OK; g++) status = forward_group(d, g, x, w, e, y);
  return status;
}

/* Kernel positions of one axis that reach the inputs of a phase (positions = phase mod stride), ascending by the
 * output they come from: position phase + stride * i reads output i + offset. Returns how many. */
static int64_t phase_taps(int64_t phase, int64_t stride, int64_t before, int64_t k, int64_t dilation, int64_t *position,
                          int64_t *offset) {
  int64_t count = 0;
  for (int64_t i = k - 1; i >= 0; i--) {
    int64_t reach = phase + before - i * dilation;
    if (reach % stride) continue;
    position[count] = i;
    offset[count++] = reach / stride;
  }
  return count;
}

/* Rows h = first_h mod SH and columns w = first_w mod SW of dx. */
typedef struct {
  int64_t first_h, first_w;
  int64_t rows, cols;       /* how many kernel rows and columns reach this phase */
  int64_t *kh, *h, *kw, *w; /* which, and the output they come from */
} phase;

static phase find_phase(const fc_conv2d *d, int64_t first_h, int64_t first_w, int64_t *index) {
  phase f = {.first_h = first_h, .first_w = first_w, .kh = index, .h = index + d->KH};
  f.kw = index + 2 * d->KH, f.w = index + 2 * d->KH + d->KW;
  f.rows = phase_taps(first_h, d->SH, d->PT, d->KH, d->DH, f.kh, f.h);
  f.cols = phase_taps(first_w, d->SW, d->PL, d->KW, d->DW, f.kw, f.w);
  return f;
}

/* dx of a phase: a dense convolution of dy with the taps that reach them. */
static fc_status backward_phase(const fc_conv2d *d, int64_t g, const phase *f, const real *dy, const real *w, real *dx,
                                const product_parts *s) {
  int64_t Cg = d->C / d->G, Kg = d->K / d->G, taps = f->rows * f->cols;
  for (int64_t t = 0; t < taps; t++) {
    int64_t i = t / f->cols, j = t % f->cols;
    s->filter[t] = w + (f->kh[i] * d->KW + f->kw[j]) * Cg * d->K + g * Kg; /* (Cg, Kg) */
    s->taps[t] = (tap){f->h[i], f->w[j]};
  }
  tap_product p = {.in = {dy + g * Kg, d->N, d->OH, d->OW, d->y_pitch},
                   .GH = ceil_div(d->H - f->first_h, d->SH),
                   .GW = ceil_div(d->W - f->first_w, d->SW),
                   .step_h = 1,
                   .step_w = 1,
                   .taps = taps,
                   .depth = Kg,
                   .tap = s->taps,
                   .weights = {s->filter, taps, Kg, 1, d->K}, /* transposed */
                   .out = dx + g * Cg,
                   .out_h = d->H,
                   .out_w = d->W,
                   .out_pitch = d->x_pitch,
                   .first_h = f->first_h,
                   .first_w = f->first_w,
                   .stride_h = d->SH,
                   .stride_w = d->SW,
                   .cols = Cg};
  p.output = (tile_output){.bias = s->bias};
  int consecutive = taps > 0 && f->w[f->cols - 1] - f->w[0] == f->cols - 1;
  real *copy = NULL;
  fc_status status = consecutive ? FC(merge_taps)(&p, s->taps, f->cols, &copy) : FC_OK;
  if (status == FC_OK) status = FC(tap_product_run)(&p);
  fc_free(copy);
  return status;
}

static fc_status backward_group(const fc_conv2d *d, int64_t g, const real *dy, const real *w, real *dx) {
  int64_t Cg = d->C / d->G;
  fc_workspace memory = {0};
  product_parts s;
  if (!reserve(&memory, &s, d, Cg)) return FC_NO_MEMORY;
  FC(pad_row)(Cg, NULL, s.bias);
  fc_status status = FC_OK;
  for (int64_t ph = 0; ph < min_i64(d->SH, d->H) && status == FC_OK; ph++)
    for (int64_t pw = 0; pw < min_i64(d->SW, d->W) && status == FC_OK; pw++) {
      phase f = find_phase(d, ph, pw, s.index);
      status = backward_phase(d, g, &f, dy, w, dx, &s);
    }
  fc_workspace_free(&memory);
  return status;
}

fc_status FC(conv2d_backward_data_implicit_gemm)(const fc_conv2d *d, const void *dy, const void *w, void *dx) {
  fc_status status = FC_OK;
  for (int64_t g = 0; g < d->G && status == FC_OK; g++) status = backward_group(d, g, dy, w, dx);
  return status;
}
