/* Activations of a block of rows, by one thread: for kernels that end in one. */
#ifndef FC_ACTIVATION_H
#define FC_ACTIVATION_H

#include "kernels/base/simd.h"

/* The cheap kinds, FC_LINEAR among them: a few instructions on a vector that is in a register anyway. Their gradient
 * follows from the output y. */
FC_INLINE int rectifies(fc_activation_kind kind) { return kind <= FC_LEAKY_RELU; }
FC_INLINE vec rectify(fc_activation_kind kind, vec x, vec parameter) {
  switch (kind) {
    case FC_RELU:
      return at_least(x, splat(0));
    case FC_RELU6:
      return at_most(at_least(x, splat(0)), splat(6));
    case FC_LEAKY_RELU:
      return blend(x > 0, x, x * parameter);
    default:
      return x;
  }
}
FC_INLINE vec rectify_gradient(fc_activation_kind kind, vec dy, vec y, vec parameter) {
  switch (kind) {
    case FC_RELU:
      return blend(y <= 0, splat(0), dy);
    case FC_RELU6:
      return blend((y <= 0) | (y >= 6), splat(0), dy);
    case FC_LEAKY_RELU:
      return blend(y > 0, dy, dy * parameter);
    default:
      return dy;
  }
}

/* x, y: rows of K values, pitch apart; y may be x. e's bias is not looked at. */
FC_HIDDEN void FC(activate_rows)(const fc_epilogue *e, int64_t rows, int64_t K, int64_t pitch, const real *x, real *y);

/* softmax.c: likewise for FC_SOFTMAX alone. Returns the last row's maximum and log of its sum through the pointers. */
FC_HIDDEN void FC(softmax_row)(int64_t K, const real *x, real *y, real *maximum, real *log_sum);
FC_HIDDEN void FC(softmax_row_backward)(int64_t K, const real *dy, const real *y, real *dx);

#endif
