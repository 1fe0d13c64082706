/* What batch normalisation's two passes share: how x (rows, C) is cut up, and the numbers of a channel. */
#ifndef FC_BATCH_NORM_H
#define FC_BATCH_NORM_H

#include "kernels/elementwise/activation.h"
#include "kernels/base/columns.h"

enum {
  STRIP = FC_VEC_BYTES == 64 ? 8 : 4, /* vectors side by side that go down the rows together */
  SHARE = 64                          /* channels whose sums a thread brings together */
};

/* Per channel, planes apart: y = activation((x - mean) * scale + shift) */
enum { MEAN, SCALE, SHIFT };

FC_INLINE void affine(const fc_batch_norm *b, const real *mean, const real *variance, real *numbers, int64_t plane) {
  const real *gamma = b->gamma, *beta = b->beta;
  for (int64_t c = 0; c < b->C; c++) {
    real inverse = (real)(1 / sqrt((double)variance[c] + b->epsilon));
    numbers[MEAN * plane + c] = mean[c];
    numbers[SCALE * plane + c] = gamma ? inverse * gamma[c] : inverse;
    numbers[SHIFT * plane + c] = beta ? beta[c] : 0;
  }
}

/* Elements from one wide row of x to the next. */
FC_INLINE int64_t wide_pitch(const fc_batch_norm *b, const columns *k) {
  return b->x_pitch == b->C ? k->width : b->x_pitch;
}

/* Some wide rows of a call, by one thread: the first `cols` columns of each. */
typedef struct {
  int64_t rows, cols;
  int64_t width, x_pitch; /* from one row of dy and the output to the next, and one plane of numbers; of x */
  const real *dy, *x, *numbers;
  real parameter; /* of the activation */
  int past;       /* the output goes past the caches */
  real *to;
} wide_rows;

/* Runs a statement for each strip of columns: nv vectors from column j on, of which n lanes count (VL if nv > 1). */
#define FOR_STRIPS(cols, ...)                          \
  do {                                                 \
    const int64_t cols_ = (cols);                      \
    int64_t j = 0;                                     \
    for (; j + STRIP * VL <= cols_; j += STRIP * VL) { \
      const int nv = STRIP;                            \
      const int64_t n = VL;                            \
      __VA_ARGS__;                                     \
    }                                                  \
    if (j + STRIP / 2 * VL <= cols_) {                 \
      const int nv = STRIP / 2;                        \
      const int64_t n = VL;                            \
      __VA_ARGS__;                                     \
      j += STRIP / 2 * VL;                             \
    }                                                  \
    for (; j < cols_; j += VL) {                       \
      const int nv = 1;                                \
      const int64_t n = min_i64(VL, cols_ - j);        \
      __VA_ARGS__;                                     \
    }                                                  \
  } while (0)

FC_INLINE void load_strip(const real *from, int nv, int64_t n, vec *to) {
  for (int v = 0; v < nv; v++) to[v] = load_n(from + v * VL, n);
}

/* Both passes compute this, and the backward one must see the sign that the forward one saw. */
FC_INLINE vec normalised(vec x, vec mean, vec scale, vec shift) { return (x - mean) * scale + shift; }

#endif
