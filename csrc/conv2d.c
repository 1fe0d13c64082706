/* Convolution: the list of algorithms, which of them serves a shape, and the call into the table of kernels. */
#include <string.h>

#include "fastconv.h"

enum { DEPTHWISE, GROUPED, WINOGRAD, IMPLICIT_GEMM, IM2COL, NAIVE, WINOGRAD_2X2, WINOGRAD_6X6, ALGORITHMS };

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

static int grouped_wins(const fc_conv2d *d, fc_dtype t, fc_pass pass, int prepared) {
  (void)prepared;
  return fc_table(t)->grouped_wins(d, pass);
}

/* Strided kernels become dense ones by space to depth. */
static const char *winograd_rule(const fc_conv2d *d, fc_pass pass) {
  (void)pass;
  int64_t r = (d->KH + d->SH - 1) / d->SH;
  if (d->G > 1) return "it takes one group";
  if (d->DH != 1 || d->DW != 1) return "it takes no dilation";
  if (r != (d->KW + d->SW - 1) / d->SW || r < 3 || r > 5)
    return "kernel size / stride, rounded up, must be 3, 4 or 5 in both directions";
  return NULL;
}
static const char *winograd_3x3_rule(const fc_conv2d *d, fc_pass pass) {
  int three = d->SH == 1 && d->SW == 1 && d->KH == 3 && d->KW == 3;
  return three ? winograd_rule(d, pass) : "the kernel must be 3x3 with stride 1";
}

static int exact; /* keeps "auto" off Winograd */
void fc_set_conv2d_exact(int on) { exact = on; }
int fc_conv2d_exact(void) { return exact; }

/* float64 is asked for to be accurate. */
static int winograd_wins(const fc_conv2d *d, fc_dtype t, fc_pass pass, int prepared) {
  return !exact && t == FC_FLOAT32 && fc_table(t)->winograd_gain(d, pass, prepared) > 1;
}

/* In the order in which "auto" asks: the first that serves and wins runs. What stands after an algorithm that serves
 * everything runs by name only. */
static const struct {
  const char *name;
  const char *(*refusal)(const fc_conv2d *d, fc_pass pass);
  int (*wins)(const fc_conv2d *d, fc_dtype t, fc_pass pass, int prepared); /* NULL: always */
} algorithms[ALGORITHMS] = {
    [DEPTHWISE] = {"depthwise", not_depthwise, grouped_wins},
    [GROUPED] = {"grouped", not_grouped, grouped_wins},
    [WINOGRAD] = {"winograd", winograd_rule, winograd_wins},
    [IMPLICIT_GEMM] = {"implicit_gemm", no_rule, NULL},
    [IM2COL] = {"im2col", no_rule, NULL},
    [NAIVE] = {"naive", no_rule, NULL},
    [WINOGRAD_2X2] = {"winograd_2x2", winograd_3x3_rule, NULL},
    [WINOGRAD_6X6] = {"winograd_6x6", winograd_3x3_rule, NULL},
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

/* The algorithm asked for, or for "auto" (NULL) the best; -1 if it cannot. */
static int choose(const fc_conv2d *d, fc_dtype t, fc_pass pass, const char *name, int prepared) {
  if (name) {
    int i = find(name);
    return i >= 0 && !algorithms[i].refusal(d, pass) ? i : -1;
  }
  int i = 0;
  while (algorithms[i].refusal(d, pass) || (algorithms[i].wins && !algorithms[i].wins(d, t, pass, prepared))) i++;
  return i;
}

const char *fc_conv2d_choice(const fc_conv2d *d, fc_dtype t, fc_pass pass, int prepared) {
  return algorithms[choose(d, t, pass, NULL, prepared)].name;
}

/* Points of a Winograd algorithm, 0 for others. */
static int points_of(int algorithm) {
  return algorithm == WINOGRAD ? 6 : algorithm == WINOGRAD_2X2 ? 4 : algorithm == WINOGRAD_6X6 ? 8 : 0;
}

int64_t fc_conv2d_prepared_size(const fc_conv2d *d, fc_dtype t, const char *algorithm) {
  int points = points_of(choose(d, t, FC_FORWARD, algorithm, 1));
  return points ? fc_table(t)->winograd_filters_size(d, points) : 0;
}

fc_status fc_conv2d_prepare(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *w, void *prepared) {
  int points = points_of(choose(d, t, FC_FORWARD, algorithm, 1));
  return points ? fc_table(t)->winograd_filters(d, points, w, prepared) : FC_UNSUPPORTED;
}

fc_status fc_conv2d_forward(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x, const void *w,
                            const void *prepared, const fc_epilogue *e, void *y) {
  const fc_kernels *k = fc_table(t);
  fc_epilogue first = *e, rest = {.kind = e->kind, .parameter = e->parameter};
  if (!fc_in_tile(e->kind)) first.kind = FC_LINEAR;
  fc_status status = FC_UNSUPPORTED;
  int choice = choose(d, t, FC_FORWARD, algorithm, prepared != NULL);
  switch (choice) {
    case WINOGRAD:
    case WINOGRAD_2X2:
    case WINOGRAD_6X6:
      status = k->conv2d_forward_winograd(d, points_of(choice), x, w, prepared, &first, y);
      break;
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
  int choice = choose(d, t, FC_BACKWARD_DATA, algorithm, 0);
  switch (choice) {
    case WINOGRAD:
    case WINOGRAD_2X2:
    case WINOGRAD_6X6:
      return k->conv2d_backward_data_winograd(d, points_of(choice), dy, w, dx);
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

fc_status fc_conv2d_backward_weights(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x,
                                     const void *dy, void *dw, void *db) {
  const fc_kernels *k = fc_table(t);
  fc_status status = FC_UNSUPPORTED;
  int choice = choose(d, t, FC_BACKWARD_WEIGHTS, algorithm, 0);
  switch (choice) {
    case DEPTHWISE:
    case GROUPED:
      return k->conv2d_backward_weights_grouped(d, x, dy, dw, db);
    case WINOGRAD:
    case WINOGRAD_2X2:
    case WINOGRAD_6X6:
      status = k->conv2d_backward_weights_winograd(d, points_of(choice), x, dy, dw);
      break;
    case IMPLICIT_GEMM:
      status = k->conv2d_backward_weights_implicit_gemm(d, x, dy, dw);
      break;
    case IM2COL:
      status = k->conv2d_backward_weights_im2col(d, x, dy, dw);
      break;
    case NAIVE:
      status = k->conv2d_backward_weights_naive(d, x, dy, dw);
      break;
  }
  if (status == FC_OK && db) status = k->column_sums(d->N * d->OH * d->OW, d->K, d->y_pitch, dy, db);
  return status;
}
