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

/* `kind` is a constant where these are called, so each call is a loop of its own. */
FC_INLINE void span(fc_activation_kind kind, real parameter, int64_t n, const real *x, real *y) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, activate(kind, load(x + i), splat(parameter)));
  if (i < n) store_part(y + i, activate(kind, load_part(x + i, n - i), splat(parameter)), n - i);
}

FC_INLINE void span_backward(fc_activation_kind kind, real parameter, int64_t n, const real *dy, const real *y,
                             real *dx) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(dx + i, gradient(kind, load(dy + i), load(y + i), splat(parameter)));
  if (i == n) return;
  store_part(dx + i, gradient(kind, load_part(dy + i, n - i), load_part(y + i, n - i), splat(parameter)), n - i);
}

static void activate_span(fc_activation_kind kind, real parameter, int64_t n, const real *x, real *y) {
  switch (kind) {
    case FC_RELU:
      span(FC_RELU, parameter, n, x, y);
      break;
    case FC_RELU6:
      span(FC_RELU6, parameter, n, x, y);
      break;
    case FC_LEAKY_RELU:
      span(FC_LEAKY_RELU, parameter, n, x, y);
      break;
    case FC_ELU:
      span(FC_ELU, parameter, n, x, y);
      break;
    case FC_SIGMOID:
      span(FC_SIGMOID, parameter, n, x, y);
      break;
    case FC_TANH:
      span(FC_TANH, parameter, n, x, y);
      break;
    default:
      if (y != x) memcpy(y, x, (size_t)n * sizeof(real));
  }
}

static void backward_span(fc_activation_kind kind, real parameter, int64_t n, const real *dy, const real *y, real *dx) {
  switch (kind) {
    case FC_RELU:
      span_backward(FC_RELU, parameter, n, dy, y, dx);
      break;
    case FC_RELU6:
      span_backward(FC_RELU6, parameter, n, dy, y, dx);
      break;
    case FC_LEAKY_RELU:
      span_backward(FC_LEAKY_RELU, parameter, n, dy, y, dx);
      break;
    case FC_ELU:
      span_backward(FC_ELU, parameter, n, dy, y, dx);
      break;
    case FC_SIGMOID:
      span_backward(FC_SIGMOID, parameter, n, dy, y, dx);
      break;
    case FC_TANH:
      span_backward(FC_TANH, parameter, n, dy, y, dx);
      break;
    default:
      memcpy(dx, dy, (size_t)n * sizeof(real));
  }
}

/* y may be x */
static void prelu_row(int64_t K, const real *slope, const real *x, real *y) {
  int64_t k = 0;
  for (; k + VL <= K; k += VL) {
    vec v = load(x + k);
    store(y + k, blend(v > 0, v, v * load(slope + k)));
  }
  if (k == K) return;
  vec v = load_part(x + k, K - k);
  store_part(y + k, blend(v > 0, v, v * load_part(slope + k, K - k)), K - k);
}

static int by_rows(fc_activation_kind kind) { return kind == FC_SOFTMAX || kind == FC_PRELU; }

void FC(activate_rows)(const fc_epilogue *e, int64_t rows, int64_t K, int64_t pitch, const real *x, real *y) {
  real parameter = (real)e->parameter;
  const real *slope = e->slope;
  if (e->kind == FC_LINEAR && x == y) return;
  if (pitch == K && !by_rows(e->kind)) {
    activate_span(e->kind, parameter, rows * K, x, y);
    return;
  }
  for (int64_t r = 0; r < rows; r++, x += pitch, y += pitch) {
    if (e->kind == FC_SOFTMAX)
      FC(softmax_row)(K, x, y, NULL, NULL);
    else if (e->kind == FC_PRELU)
      prelu_row(K, slope, x, y);
    else
      activate_span(e->kind, parameter, K, x, y);
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
  for (int64_t i = 0; i < n; i += BLOCK)
    backward_span(e->kind, (real)e->parameter, min_i64(BLOCK, n - i), dy + i, y + i, dx + i);
  return FC_OK;
}
