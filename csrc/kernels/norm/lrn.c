/* Local response normalisation over channels: y = x * s**-beta, s = bias + alpha * (sum of x**2 from C - R to C + R).
 * A. Krizhevsky, I. Sutskever, G. Hinton (NeurIPS 2012), section 3.3. */
#include "kernels/base/vmath.h"

/* A row of C values with room for R zeros on the left, and R more and a vector on the right. */
FC_INLINE int64_t padded_length(int64_t C, int64_t R) { return C + 2 * R + 2 * VL; }

/* Sum of the 2 R + 1 neighbours of padded values k ... k + VL - 1. */
FC_INLINE vec window_sum(const real *padded, int64_t R, int64_t k) {
  vec sum = {0};
  for (int64_t i = 0; i <= 2 * R; i++) sum += load(padded + k + i);
  return sum;
}

FC_INLINE vec load_row(const real *p, int64_t k, int64_t C) {
  return k + VL <= C ? load(p + k) : load_part(p + k, C - k);
}
FC_INLINE void store_row(real *p, int64_t k, int64_t C, vec v) {
  if (k + VL <= C)
    store(p + k, v);
  else
    store_part(p + k, v, C - k);
}

FC_INLINE void pad_squares(int64_t C, int64_t R, const real *x, real *padded) {
  for (int64_t c = 0; c < C; c++) padded[R + c] = x[c] * x[c];
}

static void forward_row(int64_t C, int64_t R, const fc_lrn *d, const real *x, real *y, real *squares) {
  pad_squares(C, R, x, squares);
  for (int64_t c = 0; c < C; c += VL) {
    vec s = window_sum(squares, R, c) * (real)d->alpha + (real)d->bias;
    store_row(y, c, C, load_row(x, c, C) * vpow(s, (real)-d->beta));
  }
}

/* dx = dy * s**-beta - 2 * alpha * beta * x * (sum of neighbours of dy * x * s**(-beta - 1)) */
static void backward_row(int64_t C, int64_t R, const fc_lrn *d, const real *dy, const real *x, real *dx, real *squares,
                         real *through) {
  pad_squares(C, R, x, squares);
  for (int64_t c = 0; c < C; c += VL) {
    vec s = window_sum(squares, R, c) * (real)d->alpha + (real)d->bias, power = vpow(s, (real)-d->beta);
    vec direct = load_row(dy, c, C) * power;
    store_row(dx, c, C, direct);
    store_row(through + R, c, C, direct * load_row(x, c, C) / s);
  }
  vec factor = splat((real)(2 * d->alpha * d->beta));
  for (int64_t c = 0; c < C; c += VL)
    store_row(dx, c, C, load_row(dx, c, C) - factor * load_row(x, c, C) * window_sum(through, R, c));
}

/* dy NULL: forward. One buffer a thread, its margins zero. */
static fc_status run(int64_t rows, int64_t C, const fc_lrn *d, const real *dy, const real *x, real *to) {
  int64_t R = min_i64(d->radius, C - 1), length = padded_length(C, R);
  int threads = fc_threads_for(rows * C * (2 * R + 20));
  real *buffers = fc_alloc((size_t)(2 * threads * length) * sizeof(real));
  if (!buffers) return FC_NO_MEMORY;
  memset(buffers, 0, (size_t)(2 * threads * length) * sizeof(real));
#pragma omp parallel num_threads(threads)
  {
    int64_t mine = fc_thread_number();
    real *squares = buffers + 2 * mine * length, *through = squares + length;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++)
      if (dy)
        backward_row(C, R, d, dy + r * C, x + r * C, to + r * C, squares, through);
      else
        forward_row(C, R, d, x + r * C, to + r * C, squares);
  }
  fc_free(buffers);
  return FC_OK;
}

/* x (rows, C) -> y (rows, C) */
fc_status FC(lrn)(int64_t rows, int64_t C, const fc_lrn *d, const void *x, void *y) {
  return run(rows, C, d, NULL, x, y);
}

/* dy, x (rows, C) -> dx (rows, C) */
fc_status FC(lrn_backward)(int64_t rows, int64_t C, const fc_lrn *d, const void *dy, const void *x, void *dx) {
  return run(rows, C, d, dy, x, dx);
}
