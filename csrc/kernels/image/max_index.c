/* What follows the indices that max pooling kept: its gradient for windows that are not known, unpooling, and
 * unpooling's gradient. An index comes from the caller's data, so each is checked before it is used: FC_BAD_INDEX, and
 * nothing is written out of bounds. A thread owns whole planes of 64 channels, in which every sum runs in row-major
 * order of the output.
 */
#include "kernels/base/simd.h"

enum { CHANNELS = 64 };

typedef enum { ADD, PUT } scatter_mode;

/* One block of channels of one image: from (P, C) and argmax (P, C) -> to (plane, C). Returns whether an index is bad.
 */
FC_INLINE int scatter_block(scatter_mode mode, int64_t P, int64_t plane, int64_t C, int64_t channels, const real *from,
                            const int32_t *argmax, real *to) {
  int bad = 0;
  if (channels == C)
    memset(to, 0, (size_t)(plane * C) * sizeof(real));
  else
    for (int64_t p = 0; p < plane; p++) memset(to + p * C, 0, (size_t)channels * sizeof(real));
  for (int64_t p = 0; p < P; p++, from += C, argmax += C)
    for (int64_t c = 0; c < channels; c++) {
      int64_t position = argmax[c];
      if ((uint64_t)position >= (uint64_t)plane)
        bad = 1;
      else if (mode == ADD)
        to[position * C + c] += from[c];
      else
        to[position * C + c] = from[c];
    }
  return bad;
}

FC_INLINE fc_status scatter(scatter_mode mode, int64_t N, int64_t P, int64_t plane, int64_t C, const real *from,
                            const int32_t *argmax, real *to) {
  int64_t blocks = ceil_div(C, CHANNELS);
  int bad = 0;
#pragma omp parallel for num_threads(fc_threads_for(N * C * (P + plane))) schedule(static) reduction(| : bad)
  for (int64_t i = 0; i < N * blocks; i++) {
    int64_t n = i / blocks, c = i % blocks * CHANNELS;
    bad |= scatter_block(mode, P, plane, C, min_i64(CHANNELS, C - c), from + n * P * C + c, argmax + n * P * C + c,
                         to + n * plane * C + c);
  }
  return bad ? FC_BAD_INDEX : FC_OK;
}

/* dy, argmax (N, P, C) -> dx (N, plane, C): a winner of several windows receives the sum */
fc_status FC(max_pool2d_backward)(int64_t N, int64_t P, int64_t plane, int64_t C, const void *dy, const int32_t *argmax,
                                  void *dx) {
  return scatter(ADD, N, P, plane, C, dy, argmax, dx);
}

/* x, argmax (N, P, C) -> y (N, plane, C): the last of a repeated index wins, the rest is 0 */
fc_status FC(max_unpool2d)(int64_t N, int64_t P, int64_t plane, int64_t C, const void *x, const int32_t *argmax,
                           void *y) {
  return scatter(PUT, N, P, plane, C, x, argmax, y);
}

/* dy (N, plane, C), argmax (N, P, C) -> dx (N, P, C): every element reads dy where it was put */
fc_status FC(max_unpool2d_backward)(int64_t N, int64_t P, int64_t plane, int64_t C, const void *dy_,
                                    const int32_t *argmax, void *dx_) {
  const real *dy = dy_;
  real *dx = dx_;
  int bad = 0;
#pragma omp parallel for num_threads(fc_threads_for(N * P * C)) schedule(static) reduction(| : bad)
  for (int64_t i = 0; i < N * P; i++) {
    const real *image = dy + i / P * plane * C;
    for (int64_t c = 0; c < C; c++) {
      int64_t position = argmax[i * C + c];
      if ((uint64_t)position >= (uint64_t)plane)
        bad = 1;
      else
        dx[i * C + c] = image[position * C + c];
    }
  }
  return bad ? FC_BAD_INDEX : FC_OK;
}
