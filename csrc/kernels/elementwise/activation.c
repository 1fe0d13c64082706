/* Activations, alone and as the end of another kernel; their gradients from the output. */
#include "activation.h"
#include "kernels/base/vmath.h"

enum { BLOCK = 4096 }; /* elements a thread takes at a time: a number of whole vectors */

FC_INLINE vec activate(fc_activation_kind kind, vec x, vec parameter) {
  switch (kind) {
    case FC_ELU: /* x of 0 or more stays x: also without the slow product where alpha is 1 */
      return parameter[0] == 1 ? vexpm1_negative(x) : blend(x > 0, x, parameter * vexpm1_negative(x));
    case FC_SIGMOID:
      return vsigmoid(x);
    case FC_TANH:
      return vtanh(x);
    default:
      return rectify(kind, x, parameter);
  }
}

FC_INLINE vec gradient(fc_activation_kind kind, vec dy, vec y, vec parameter) {
  switch (kind) {
    case FC_ELU:
      return blend(y > 0, dy, dy * (y + parameter));
    case FC_SIGMOID:
      return dy * y * (1 - y);
    case FC_TANH:
      return dy * (1 - y * y);
    default:
      return rectify_gradient(kind, dy, y, parameter);
  }
}

#define FOR_KIND(which, ...)             \
  switch (which) {                       \
    case FC_ELU:                         \
      WITH_KIND(FC_ELU, __VA_ARGS__)     \
    case FC_SIGMOID:                     \
      WITH_KIND(FC_SIGMOID, __VA_ARGS__) \
    case FC_TANH:                        \
      WITH_KIND(FC_TANH, __VA_ARGS__)    \
    default:                             \
      FOR_RECTIFIER(which, __VA_ARGS__)  \
  }

FC_INLINE void span(fc_activation_kind kind, vec parameter, int64_t n, const real *x, real *y) {
  FOR_VECTORS(n, store_n(y + i, activate(kind, load_n(x + i, lanes), parameter), lanes));
}

FC_INLINE void span_backward(fc_activation_kind kind, vec parameter, int64_t n, const real *dy, const real *y,
                             real *dx) {
  FOR_VECTORS(n, store_n(dx + i, gradient(kind, load_n(dy + i, lanes), load_n(y + i, lanes), parameter), lanes));
}

static void activate_span(const fc_epilogue *e, int64_t n, const real *x, real *y) {
  FOR_KIND(e->kind, span(kind, splat((real)e->parameter), n, x, y))
}

static void backward_span(const fc_epilogue *e, int64_t n, const real *dy, const real *y, real *dx) {
  FOR_KIND(e->kind, span_backward(kind, splat((real)e->parameter), n, dy, y, dx))
}

/* y may be x */
static void prelu_row(int64_t K, const real *slope, const real *x, real *y) {
  FOR_VECTORS(K, vec v = load_n(x + i, lanes); store_n(y + i, blend(v > 0, v, v * load_n(slope + i, lanes)), lanes));
}

static int by_rows(fc_activation_kind kind) { return kind == FC_SOFTMAX || kind == FC_PRELU; }

void FC(activate_rows)(const fc_epilogue *e, int64_t rows, int64_t K, int64_t pitch, const real *x, real *y) {
  if (e->kind == FC_LINEAR && x == y) return;
  if (pitch == K && !by_rows(e->kind)) {
    activate_span(e, rows * K, x, y);
    return;
  }
  for (int64_t r = 0; r < rows; r++, x += pitch, y += pitch) {
    if (e->kind == FC_SOFTMAX)
      FC(softmax_row)(K, x, y, NULL, NULL);
    else if (e->kind == FC_PRELU)
      prelu_row(K, e->slope, x, y);
    else
      activate_span(e, K, x, y);
  }
}

/* y: rows of K values, pitch apart, changed in place: + bias, then the activation */
fc_status FC(apply_epilogue)(int64_t rows, int64_t K, int64_t pitch, const fc_epilogue *e, void *y_) {
  real *y = y_;
  const real *bias = e->bias;
  int64_t block = max_i64(1, BLOCK / K);
#pragma omp parallel for num_threads(fc_threads_for(rows *K)) schedule(static)
  for (int64_t first = 0; first < rows; first += block) {
    int64_t last = min_i64(rows, first + block);
    if (bias)
      for (int64_t r = first; r < last; r++)
        for (int64_t k = 0; k < K; k++) y[r * pitch + k] += bias[k];
    FC(activate_rows)(e, last - first, K, pitch, y + first * pitch, y + first * pitch);
  }
  return FC_OK;
}

/* x (rows, K) -> y (rows, K) */
fc_status FC(activate)(int64_t rows, int64_t K, const fc_epilogue *e, const void *x_, void *y_) {
  const real *x = x_;
  real *y = y_;
  if (!by_rows(e->kind)) K *= rows, rows = 1; /* all elements are alike */
  int64_t cols = by_rows(e->kind) ? K : BLOCK, block = by_rows(e->kind) ? max_i64(1, BLOCK / K) : 1;
  int64_t row_blocks = ceil_div(rows, block), col_blocks = ceil_div(K, cols);
#pragma omp parallel for num_threads(fc_threads_for(rows *K)) schedule(static)
  for (int64_t i = 0; i < row_blocks * col_blocks; i++) {
    int64_t r = i / col_blocks * block, k = i % col_blocks * cols, width = min_i64(cols, K - k);
    FC(activate_rows)(e, min_i64(block, rows - r), width, width, x + r * K + k, y + r * K + k);
  }
  return FC_OK;
}

/* dy, y (rows, K) -> dx (rows, K); every kind but FC_PRELU */
fc_status FC(activation_backward)(int64_t rows, int64_t K, const fc_epilogue *e, const void *dy_, const void *y_,
                                  void *dx_) {
  const real *dy = dy_, *y = y_;
  real *dx = dx_;
  int64_t n = rows * K;
  if (e->kind == FC_SOFTMAX) {
#pragma omp parallel for num_threads(fc_threads_for(n)) schedule(static)
    for (int64_t r = 0; r < rows; r++) FC(softmax_row_backward)(K, dy + r * K, y + r * K, dx + r * K);
    return FC_OK;
  }
#pragma omp parallel for num_threads(fc_threads_for(n)) schedule(static)
  for (int64_t i = 0; i < n; i += BLOCK) backward_span(e, min_i64(BLOCK, n - i), dy + i, y + i, dx + i);
  return FC_OK;
}
