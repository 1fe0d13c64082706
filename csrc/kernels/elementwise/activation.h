/* Activations of a block of rows, by one thread: for kernels that end in one. */
#ifndef FC_ACTIVATION_H
#define FC_ACTIVATION_H

#include "kernels/base/rectifier.h"

/* x, y: rows of K values, pitch apart; y may be x. e's bias is not looked at. */
FC_HIDDEN void FC(activate_rows)(const fc_epilogue *e, int64_t rows, int64_t K, int64_t pitch, const real *x, real *y);

/* softmax.c: likewise for FC_SOFTMAX alone. Returns the last row's maximum and log of its sum through the pointers. */
FC_HIDDEN void FC(softmax_row)(int64_t K, const real *x, real *y, real *maximum, real *log_sum);
FC_HIDDEN void FC(softmax_row_backward)(int64_t K, const real *dy, const real *y, real *dx);

#endif
