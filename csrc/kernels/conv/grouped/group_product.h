/* What the depthwise and grouped kernels need of a convolution: on each axis, which inputs an output meets. Forward and
 * every phase of backward data are the same kind of thing. */
#ifndef FC_GROUP_PRODUCT_H
#define FC_GROUP_PRODUCT_H

#include "group_lanes.h"

/* Along one axis, output first + g * stride (g < count) reads inputs g * step + at[t] < size. */
typedef struct {
  int64_t first, stride, count, step, size, taps;
  const int64_t *at;     /* ascending */
  const int64_t *offset; /* at, in elements of the input */
  const int64_t *weight; /* where the tap's weights start */
} group_axis;

/* The axes of a convolution, of `rows` and of columns: one phase each forward, one for each residue of the stride
 * backward. */
typedef struct {
  group_axis *phases; /* of rows, then of columns */
  int64_t row_phases, col_phases;
  int64_t *numbers; /* what the phases point to */
  fc_workspace memory;
} group_axes;

/* Output o meets input o * S - before + k * dilation; x (N, H, W, x_pitch), w (KH, KW, size). */
FC_HIDDEN fc_status FC(group_axes_forward)(const fc_conv2d *d, int64_t size, group_axes *a);
/* Position h of dx meets output (h + before - k * dilation) / S where that is whole; dy (N, OH, OW, y_pitch). */
FC_HIDDEN fc_status FC(group_axes_backward)(const fc_conv2d *d, int64_t size, group_axes *a);
FC_INLINE void group_axes_free(group_axes *a) { fc_workspace_free(&a->memory); }

/* Taps first .. last - 1 */
typedef struct {
  int64_t first, last;
} group_span;

/* How many taps lie before position `at`, by halving: a kernel may be far larger than the image. */
FC_INLINE int64_t group_taps_before(const group_axis *a, int64_t at) {
  int64_t first = 0, count = a->taps;
  while (count > 0) {
    int64_t half = count / 2;
    if (a->at[first + half] < at)
      first += half + 1, count -= half + 1;
    else
      count = half;
  }
  return first;
}

/* Those whose input lies inside for output g. */
FC_INLINE group_span group_taps(const group_axis *a, int64_t g) {
  int64_t origin = g * a->step;
  return (group_span){group_taps_before(a, -origin), group_taps_before(a, a->size - origin)};
}

/* Are the taps neighbours of which, for any output, at most half lie outside on either side? */
FC_INLINE int group_neighbours(const group_axis *a) {
  int64_t half = a->taps / 2, over = (a->count - 1) * a->step + a->at[a->taps - 1] - (a->size - 1);
  return a->at[a->taps - 1] - a->at[0] == a->taps - 1 && -a->at[0] <= half && over <= half;
}

/* Outputs [begin, end) of an axis that have the same taps inside. */
typedef struct {
  int64_t begin, end;
  group_span inside;
} group_run;

/* At most min(count, 2 * taps + 1) of them; returns how many. */
FC_HIDDEN int64_t FC(group_runs)(const group_axis *a, group_run *runs);

/* out[pixel][k] = activation(bias[k] + sum over taps and i < depth of in[pixel at tap][lane k, i] w[tap][i][k]) */
typedef struct {
  const group_lanes *lanes;
  const group_axes *axes;
  const real *in, *w; /* (N, H, W, in_pitch), (KH, KW, depth, outputs) */
  real *out;          /* (N, OH, OW, out_pitch) */
  int64_t N, H, W, in_pitch, OH, OW, out_pitch;
  int64_t taps; /* of an output, on average */
  const fc_epilogue *epilogue;
} group_product;

FC_HIDDEN fc_status FC(group_product_run)(const group_product *p);

#endif
