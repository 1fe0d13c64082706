/* Convolution: the list of algorithms, which of them serves a shape, and the call into the table of kernels. */
#include <string.h>

#include "fastconv.h"

enum { DEPTHWISE, GROUPED, IMPLICIT_GEMM, IM2COL, NAIVE, ALGORITHMS };

static const char *no_rule(const fc_conv2d *d, fc_pass pass) {
  (void)d, (void)pass;
  return NULL;
}

static const char *not_depthwise(const fc_conv2d *d, fc_pass pass) {
  (void)pass;
  return d->G == d->C ? NULL : "it wants as many groups as channels";
}

static const char *not_grouped(const fc_conv2d *d, fc_pass pass) {
  (void)pass;
  return d->G > 1 ? NULL : "it wants more than one group";
}

/* Wider groups than this fill a vector of their own, and implicit GEMM is faster. */
static int pays(const fc_conv2d *d, int algorithm) {
  return algorithm != GROUPED || (d->C <= 8 * d->G && d->K <= 8 * d->G);
}

/* In the order in which "auto" asks: the first that does not refuse and pays runs. The last one serves everything. */
static const struct {
  const char *name;
  const char *(*refusal)(const fc_conv2d *d, fc_pass pass);
} algorithms[ALGORITHMS] = {
    [DEPTHWISE] = {"depthwise", not_depthwise},
    [GROUPED] = {"grouped", not_grouped},
    [IMPLICIT_GEMM] = {"implicit_gemm", no_rule},
    [IM2COL] = {"im2col", no_rule},
    [NAIVE] = {"naive", no_rule},
};

const char *fc_conv2d_algorithm_name(int i) { return i >= 0 && i < ALGORITHMS ? algorithms[i].name : NULL; }

static int find(const char *name) {
  for (int i = 0; i < ALGORITHMS; i++)
    if (strcmp(name, algorithms[i].name) == 0) return i;
  return -1;
}

const char *fc_conv2d_refusal(const fc_conv2d *d, fc_pass pass, const char *algorithm) {
  int i = find(algorithm);
  return i < 0 ? "there is no such algorithm" : algorithms[i].refusal(d, pass);
}

/* The algorithm asked for, or the first that serves; -1 if it cannot. */
static int choose(const fc_conv2d *d, fc_pass pass, const char *name) {
  if (name) {
    int i = find(name);
    return i >= 0 && !algorithms[i].refusal(d, pass) ? i : -1;
  }
  int i = 0;
  while (algorithms[i].refusal(d, pass) || !pays(d, i)) i++;
  return i;
}

fc_status fc_conv2d_forward(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x, const void *w,
                            const fc_epilogue *e, void *y) {
  const fc_kernels *k = fc_table(t);
  fc_epilogue first = *e, rest = {.kind = e->kind, .parameter = e->parameter};
  if (!fc_in_tile(e->kind)) first.kind = FC_LINEAR;
  fc_status status = FC_UNSUPPORTED;
  switch (choose(d, FC_FORWARD, algorithm)) {
    case DEPTHWISE:
    case GROUPED:
      status = k->conv2d_forward_grouped(d, x, w, &first, y);
      break;
    case IMPLICIT_GEMM:
      status = k->conv2d_forward_implicit_gemm(d, x, w, &first, y);
      break;
    case IM2COL:
      status = k->conv2d_forward_im2col(d, x, w, &first, y);
      break;
    case NAIVE:
      status = k->conv2d_forward_naive(d, x, w, &first, y);
      break;
  }
  if (status == FC_OK && !fc_in_tile(e->kind))
    status = k->apply_epilogue(d->N * d->OH * d->OW, d->K, d->y_pitch, &rest, y);
  return status;
}

fc_status fc_conv2d_backward_data(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *dy, const void *w,
                                  void *dx) {
  const fc_kernels *k = fc_table(t);
  switch (choose(d, FC_BACKWARD_DATA, algorithm)) {
    case DEPTHWISE:
    case GROUPED:
      return k->conv2d_backward_data_grouped(d, dy, w, dx);
    case IMPLICIT_GEMM:
      return k->conv2d_backward_data_implicit_gemm(d, dy, w, dx);
    case IM2COL:
      return k->conv2d_backward_data_im2col(d, dy, w, dx);
    case NAIVE:
      return k->conv2d_backward_data_naive(d, dy, w, dx);
  }
  return FC_UNSUPPORTED;
}

static fc_status weights(const fc_conv2d *d, const fc_kernels *k, const char *algorithm, const void *x, const void *dy,
                         void *dw) {
  switch (choose(d, FC_BACKWARD_WEIGHTS, algorithm)) {
    case IMPLICIT_GEMM:
      return k->conv2d_backward_weights_implicit_gemm(d, x, dy, dw);
    case IM2COL:
      return k->conv2d_backward_weights_im2col(d, x, dy, dw);
    case NAIVE:
      return k->conv2d_backward_weights_naive(d, x, dy, dw);
  }
  return FC_UNSUPPORTED;
}

fc_status fc_conv2d_backward_weights(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x,
                                     const void *dy, void *dw, void *db) {
  const fc_kernels *k = fc_table(t);
  int i = choose(d, FC_BACKWARD_WEIGHTS, algorithm);
  if (i == DEPTHWISE || i == GROUPED) return k->conv2d_backward_weights_grouped(d, x, dy, dw, db);
  fc_status status = weights(d, k, algorithm, x, dy, dw);
  if (status == FC_OK && db) status = k->column_sums(d->N * d->OH * d->OW, d->K, d->y_pitch, dy, db);
  return status;
}
