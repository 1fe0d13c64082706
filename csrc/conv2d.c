/* Convolution: the algorithms as rows of a table, which of them serves a shape, and the call into its kernels. */
#include <string.h>

#include "fastconv.h"

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

/* The three passes of an algorithm, by what they call in the table of kernels k. */
#define PASSES(name, call_forward, call_backward_data, call_backward_weights)                                      \
  static fc_status name##_forward(const fc_kernels *k, const fc_conv2d *d, const void *x, const void *w,           \
                                  const void *prepared, const fc_epilogue *e, void *y) {                           \
    (void)prepared;                                                                                                \
    return call_forward;                                                                                           \
  }                                                                                                                \
  static fc_status name##_backward_data(const fc_kernels *k, const fc_conv2d *d, const void *dy, const void *w,    \
                                        void *dx) {                                                                \
    return call_backward_data;                                                                                     \
  }                                                                                                                \
  static fc_status name##_backward_weights(const fc_kernels *k, const fc_conv2d *d, const void *x, const void *dy, \
                                           void *dw, void *db) {                                                   \
    return call_backward_weights;                                                                                  \
  }

/* After kernels that leave db to this. */
static fc_status add_up_bias(fc_status status, const fc_kernels *k, const fc_conv2d *d, const void *dy, void *db) {
  return status == FC_OK && db ? k->column_sums(d->N * d->OH * d->OW, d->K, d->y_pitch, dy, db) : status;
}

/* Kernels of the algorithm's own name. */
#define DIRECT(name)                                                                                  \
  PASSES(name, k->conv2d_forward_##name(d, x, w, e, y), k->conv2d_backward_data_##name(d, dy, w, dx), \
         add_up_bias(k->conv2d_backward_weights_##name(d, x, dy, dw), k, d, dy, db))

/* Winograd's kernels for so many points; they take prepared weights. */
#define WINOGRAD(name, points)                                                                              \
  PASSES(name, k->conv2d_forward_winograd(d, points, x, w, prepared, e, y),                                 \
         k->conv2d_backward_data_winograd(d, points, dy, w, dx),                                            \
         add_up_bias(k->conv2d_backward_weights_winograd(d, points, x, dy, dw), k, d, dy, db))              \
  static int64_t name##_prepared_size(const fc_kernels *k, const fc_conv2d *d) {                            \
    return k->winograd_filters_size(d, points);                                                             \
  }                                                                                                         \
  static fc_status name##_prepare(const fc_kernels *k, const fc_conv2d *d, const void *w, void *prepared) { \
    return k->winograd_filters(d, points, w, prepared);                                                     \
  }

DIRECT(naive)
DIRECT(im2col)
DIRECT(implicit_gemm)
PASSES(grouped, k->conv2d_forward_grouped(d, x, w, e, y), k->conv2d_backward_data_grouped(d, dy, w, dx),
       k->conv2d_backward_weights_grouped(d, x, dy, dw, db))
WINOGRAD(winograd, 6)
WINOGRAD(winograd_2x2, 4)
WINOGRAD(winograd_6x6, 8)

typedef struct {
  const char *name;
  const char *(*refusal)(const fc_conv2d *d, fc_pass pass);                /* NULL: it serves */
  int (*wins)(const fc_conv2d *d, fc_dtype t, fc_pass pass, int prepared); /* NULL: always */
  fc_status (*forward)(const fc_kernels *k, const fc_conv2d *d, const void *x, const void *w, const void *prepared,
                       const fc_epilogue *e, void *y);
  fc_status (*backward_data)(const fc_kernels *k, const fc_conv2d *d, const void *dy, const void *w, void *dx);
  fc_status (*backward_weights)(const fc_kernels *k, const fc_conv2d *d, const void *x, const void *dy, void *dw,
                                void *db);
  int64_t (*prepared_size)(const fc_kernels *k, const fc_conv2d *d); /* NULL: there is nothing to prepare */
  fc_status (*prepare)(const fc_kernels *k, const fc_conv2d *d, const void *w, void *prepared);
} algorithm;

#define PASSES_OF(name) \
  .forward = name##_forward, .backward_data = name##_backward_data, .backward_weights = name##_backward_weights
#define PREPARE_OF(name) .prepared_size = name##_prepared_size, .prepare = name##_prepare

/* In the order in which "auto" asks: the first that serves and wins runs. What stands after an algorithm that serves
 * everything runs by name only. */
static const algorithm algorithms[] = {
    {"depthwise", not_depthwise, grouped_wins, PASSES_OF(grouped)},
    {"grouped", not_grouped, grouped_wins, PASSES_OF(grouped)},
    {"winograd", winograd_rule, winograd_wins, PASSES_OF(winograd), PREPARE_OF(winograd)},
    {"implicit_gemm", no_rule, NULL, PASSES_OF(implicit_gemm)},
    {"im2col", no_rule, NULL, PASSES_OF(im2col)},
    {"naive", no_rule, NULL, PASSES_OF(naive)},
    {"winograd_2x2", winograd_3x3_rule, NULL, PASSES_OF(winograd_2x2), PREPARE_OF(winograd_2x2)},
    {"winograd_6x6", winograd_3x3_rule, NULL, PASSES_OF(winograd_6x6), PREPARE_OF(winograd_6x6)},
};
enum { ALGORITHMS = sizeof algorithms / sizeof *algorithms };

const char *fc_conv2d_algorithm_name(int i) { return i >= 0 && i < ALGORITHMS ? algorithms[i].name : NULL; }

static const algorithm *find(const char *name) {
  for (int i = 0; i < ALGORITHMS; i++)
    if (strcmp(name, algorithms[i].name) == 0) return &algorithms[i];
  return NULL;
}

const char *fc_conv2d_refusal(const fc_conv2d *d, fc_pass pass, const char *name) {
  const algorithm *a = find(name);
  return a ? a->refusal(d, pass) : "there is no such algorithm";
}

/* The algorithm asked for, or for "auto" (NULL) the best; NULL if it cannot. */
static const algorithm *choose(const fc_conv2d *d, fc_dtype t, fc_pass pass, const char *name, int prepared) {
  const algorithm *a = name ? find(name) : algorithms;
  if (name) return a && !a->refusal(d, pass) ? a : NULL;
  while (a->refusal(d, pass) || (a->wins && !a->wins(d, t, pass, prepared))) a++;
  return a;
}

const char *fc_conv2d_choice(const fc_conv2d *d, fc_dtype t, fc_pass pass, int prepared) {
  return choose(d, t, pass, NULL, prepared)->name;
}

int64_t fc_conv2d_prepared_size(const fc_conv2d *d, fc_dtype t, const char *name) {
  const algorithm *a = choose(d, t, FC_FORWARD, name, 1);
  return a && a->prepared_size ? a->prepared_size(fc_table(t), d) : 0;
}

fc_status fc_conv2d_prepare(const fc_conv2d *d, fc_dtype t, const char *name, const void *w, void *prepared) {
  const algorithm *a = choose(d, t, FC_FORWARD, name, 1);
  return a && a->prepare ? a->prepare(fc_table(t), d, w, prepared) : FC_UNSUPPORTED;
}

fc_status fc_conv2d_forward(const fc_conv2d *d, fc_dtype t, const char *name, const void *x, const void *w,
                            const void *prepared, const fc_epilogue *e, void *y) {
  const algorithm *a = choose(d, t, FC_FORWARD, name, prepared != NULL);
  if (!a) return FC_UNSUPPORTED;
  const fc_kernels *k = fc_table(t);
  if (fc_in_tile(e->kind)) return a->forward(k, d, x, w, prepared, e, y);
  fc_epilogue first = *e, rest = {.kind = e->kind, .parameter = e->parameter};
  first.kind = FC_LINEAR;
  fc_status status = a->forward(k, d, x, w, prepared, &first, y);
  return status == FC_OK ? k->apply_epilogue(d->N * d->OH * d->OW, d->K, d->y_pitch, &rest, y) : status;
}

fc_status fc_conv2d_backward_data(const fc_conv2d *d, fc_dtype t, const char *name, const void *dy, const void *w,
                                  void *dx) {
  const algorithm *a = choose(d, t, FC_BACKWARD_DATA, name, 0);
  return a ? a->backward_data(fc_table(t), d, dy, w, dx) : FC_UNSUPPORTED;
}

fc_status fc_conv2d_backward_weights(const fc_conv2d *d, fc_dtype t, const char *name, const void *x, const void *dy,
                                     void *dw, void *db) {
  const algorithm *a = choose(d, t, FC_BACKWARD_WEIGHTS, name, 0);
  return a ? a->backward_weights(fc_table(t), d, x, dy, dw, db) : FC_UNSUPPORTED;
}
