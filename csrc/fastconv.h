/* fastconv: descriptors, status codes and every entry point of the C core.
 *
 * Tensors are NHWC, kernels HWIO. Dimensions: N batch, H W input, C channels, KH KW kernel, K filters, OH OW output,
 * SH SW strides, DH DW dilation, PT PB PL PR padding (top, bottom, left, right), G groups.
 * A pitch is the number of elements from one pixel to the next: C, or more for a slice of a wider tensor.
 */
#ifndef FASTCONV_H
#define FASTCONV_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
  FC_OK = 0,
  FC_NO_MEMORY,    /* an allocation failed; nothing was written */
  FC_OVERFLOW,     /* a size product does not fit int64 */
  FC_BAD_GEOMETRY, /* a descriptor that no valid call makes */
  FC_UNSUPPORTED,  /* the algorithm asked for cannot serve this shape */
  FC_BAD_INDEX     /* an index in the data points outside its tensor */
} fc_status;

typedef enum { FC_FLOAT32 = 0, FC_FLOAT64 = 1 } fc_dtype;

typedef enum {
  FC_LINEAR = 0,
  FC_RELU,
  FC_RELU6,
  FC_LEAKY_RELU, /* parameter: slope for x < 0 */
  FC_ELU,        /* parameter: alpha */
  FC_SIGMOID,
  FC_TANH,
  FC_SOFTMAX, /* over the channels of a pixel */
  FC_PRELU    /* slope: one value a channel */
} fc_activation_kind;

/* Kinds that a tile of outputs gets before it is stored. The others want the whole row, or exp, and come after. */
static inline int fc_in_tile(fc_activation_kind kind) { return kind <= FC_LEAKY_RELU || kind == FC_PRELU; }

/* What happens to a row of K outputs before it is stored: + bias, then the activation. */
typedef struct {
  const void *bias; /* (K) or NULL */
  fc_activation_kind kind;
  double parameter;
  const void *slope; /* (K), FC_PRELU only */
} fc_epilogue;

typedef struct {
  int64_t N, H, W, C, KH, KW, K, G;
  int64_t SH, SW, DH, DW, PT, PB, PL, PR;
  int64_t OH, OW;           /* set by fc_conv2d_check */
  int64_t x_pitch, y_pitch; /* 0: C and K */
} fc_conv2d;

typedef struct {
  int64_t N, H, W, C, PH, PW, SH, SW, PT, PB, PL, PR;
  int64_t OH, OW;
} fc_pool2d;

/* C (M, N) = A (M, K) B (K, N) [+ C]: element strides, so that either operand may be a transpose. */
typedef struct {
  int64_t M, N, K;
  int64_t a_row, a_col, b_row, b_col, c_row;
  int accumulate;
} fc_gemm;

/* activation((x - mean) / sqrt(variance + epsilon) * gamma + beta) of x (rows, C), rows x_pitch apart */
typedef struct {
  int64_t rows, C, x_pitch;
  const void *x, *gamma, *beta; /* gamma, beta (C) or NULL */
  double epsilon;
  fc_epilogue e;
} fc_batch_norm;

/* What rows of K probabilities are held against: labels (rows), or else targets (rows, K) */
typedef struct {
  int64_t rows, K;
  const int64_t *labels;
  const void *targets;
  double smoothing;
} fc_cross_entropy;

typedef struct {
  int64_t radius; /* the window is 2 * radius + 1 channels */
  double bias, alpha, beta;
} fc_lrn;

typedef struct {
  uint64_t seed, counter, threshold; /* a draw of 32 bits below the threshold drops */
  double scale;                      /* of what is kept */
} fc_dropout;

/* element (b, r, c): x[b * x_batch + r * x_row + c] -> y[b * y_batch + c * y_row + r] */
typedef struct {
  int64_t batch, rows, cols, x_batch, y_batch, x_row, y_row;
} fc_transpose;

/* An (H, W) image at (top, left) of an (OH, OW) one; negative: cropped. */
typedef struct {
  int64_t N, H, W, C, OH, OW, top, left;
} fc_place;

/* (H, W) -> (H * FH, W * FW) */
typedef struct {
  int64_t N, H, W, C, FH, FW;
} fc_upsample;

typedef enum { FC_SGD = 0, FC_RMSPROP, FC_ADAM, FC_ADAGRAD } fc_optimizer_kind;

typedef struct {
  fc_optimizer_kind kind;
  int nesterov;
  double learning_rate, momentum, rho, epsilon, beta_1, beta_2, step, weight_decay, scale;
} fc_optimizer;

/* One parameter: everything has `size` elements; unused states are NULL. */
typedef struct {
  void *value;
  const void *grad;
  void *state[2];
  int64_t size;
} fc_segment;

/* `count` products of one shape, operands a step apart. */
typedef struct {
  fc_gemm each;
  int64_t count, a_step, b_step, bias_step, c_step;
} fc_gemm_batch;

typedef enum { FC_FORWARD = 0, FC_BACKWARD_DATA, FC_BACKWARD_WEIGHTS } fc_pass;

#include "kernels.h"

/* descriptor.c: fills OH, OW and pitches; refuses what no kernel may see. */
fc_status fc_conv2d_check(fc_conv2d *d);

/* conv2d.c: algorithm by name; NULL means "auto". prepared: what fc_conv2d_prepare made of w for this algorithm, or
 * NULL; it serves every batch and image size. */
fc_status fc_conv2d_forward(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x, const void *w,
                            const void *prepared, const fc_epilogue *e, void *y);
fc_status fc_conv2d_backward_data(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *dy, const void *w,
                                  void *dx);
fc_status fc_conv2d_backward_weights(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *x,
                                     const void *dy, void *dw, void *db);
const char *fc_conv2d_algorithm_name(int i);                                            /* NULL past the end */
const char *fc_conv2d_refusal(const fc_conv2d *d, fc_pass pass, const char *algorithm); /* NULL: it serves */

/* What "auto" runs, with prepared weights or without. */
const char *fc_conv2d_choice(const fc_conv2d *d, fc_dtype t, fc_pass pass, int prepared);
int64_t fc_conv2d_prepared_size(const fc_conv2d *d, fc_dtype t, const char *algorithm); /* elements; 0: none */
fc_status fc_conv2d_prepare(const fc_conv2d *d, fc_dtype t, const char *algorithm, const void *w, void *prepared);
void fc_set_conv2d_exact(int on); /* "auto" keeps to direct sums */
int fc_conv2d_exact(void);

/* dispatch.c */
const fc_kernels *fc_table(fc_dtype t);
int fc_isa_select(const char *name); /* NULL: the best one. 0 done, 1 unknown name, 2 the CPU lacks it */
const char *fc_isa_name(void);
const char *fc_isa_built(int i); /* NULL past the end */
int fc_isa_usable(int i);
const char *fc_compiler(void);

/* threads.c */
int fc_num_threads(void);
int fc_set_num_threads(int n); /* 0 done, 1 refused: this process was forked from one that ran several threads */
const char *fc_num_threads_source(void);
void fc_set_num_threads_source(const char *source);
int fc_has_openmp(void);
int fc_thread_number(void); /* of this thread in a parallel region: 0, 1 ... */
/* Threads worth waking for `work` elements read or written: 1 for little work. Never changes a result. */
int fc_threads_for(int64_t work);
/* Likewise for multiply-adds, of which a vector unit does many in the time of one element from memory. */
static inline int fc_threads_for_macs(int64_t macs) { return fc_threads_for(macs / 16); }

/* neighbours.c: of n threads, those that are worth it beside other programs; all: as many as there ever are. */
int fc_threads_that_pay(int n, int all);

/* memory.c: 64-byte aligned blocks that go back to a pool */
void *fc_alloc(size_t bytes); /* NULL when there is no memory */
void fc_free(void *block);
void fc_pool_trim(void);
void fc_pool_usage(size_t *in_use, size_t *pooled);
size_t fc_pool_fresh(void); /* bytes ever taken from the system */

#endif
