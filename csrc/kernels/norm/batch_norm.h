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

FC_INLINE void affine(int64_t C, const real *mean, const real *variance, const real *gamma, const real *beta,
                      double epsilon, real *numbers, int64_t plane) {
  for (int64_t c = 0; c < C; c++) {
    real inverse = (real)(1 / sqrt((double)variance[c] + epsilon));
    numbers[MEAN * plane + c] = mean[c];
    numbers[SCALE * plane + c] = gamma ? inverse * gamma[c] : inverse;
    numbers[SHIFT * plane + c] = beta ? beta[c] : 0;
  }
}

FC_INLINE void load_strip(const real *from, int nv, int64_t n, vec *to) {
  for (int v = 0; v < nv; v++) to[v] = load_n(from + v * VL, n);
}

/* Both passes compute this, and the backward one must see the sign that the forward one saw. */
FC_INLINE vec normalised(vec x, vec mean, vec scale, vec shift) { return (x - mean) * scale + shift; }

#endif
