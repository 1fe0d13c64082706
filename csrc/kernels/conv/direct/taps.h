/* What implicit GEMM needs of a convolution: for each output pixel, where its taps lie in the input. Forward and every
 * phase of backward data are the same kind of thing: a grid of output pixels, a list of taps, packed weights. */
#ifndef FC_TAPS_H
#define FC_TAPS_H

#include "kernels/base/tile.h"

/* An image batch (N, H, W, pitch) of which depth values a pixel are read. */
typedef struct {
  const real *data;
  int64_t N, H, W, pitch;
} tap_image;

/* Tap t of grid pixel (gy, gx) starts at input pixel (gy * step_h + h, gx * step_w + w); outside is zero. */
typedef struct {
  int64_t h, w;
} tap;

/* Element (k, column) of the weights of tap t lies at tap[t] + k * row + column * col. Merging taps leaves them alone.
 */
typedef struct {
  const real *const *tap;
  int64_t taps, depth, row, col;
} tap_weights;

/* The grid, and where its pixels are written: grid pixel (n, gy, gx) is output pixel
 * (n, first_h + gy * stride_h, first_w + gx * stride_w) of an image of out_h x out_w. */
typedef struct {
  tap_image in;
  int64_t GH, GW, step_h, step_w;
  int64_t taps, depth;
  const tap *tap;
  tap_weights weights;
  real *out;
  int64_t out_h, out_w, out_pitch, first_h, first_w, stride_h, stride_w;
  int64_t cols;       /* output channels */
  tile_output output; /* bias and activation */
} tap_product;

FC_HIDDEN fc_status FC(tap_product_run)(const tap_product *p);

/* taps_few.c: whether a product has so few columns that its lanes had better be pixels, and then its kernel.
 * tap_product_run and merge_taps ask. */
FC_HIDDEN int FC(few_columns)(const tap_product *p);
FC_HIDDEN fc_status FC(few_columns_run)(const tap_product *p);

/* taps_planes.c: count pixels of depth channels, pitch apart -> [channel][pixel], channels plane apart */
FC_HIDDEN void FC(to_planes)(const real *x, int64_t count, int64_t depth, int64_t pitch, int64_t plane, real *to);

/* rows x wide pixels from (top, left) on, some of them outside of the image: planes leave these alone. */
typedef struct {
  int64_t top, left, rows, wide, plane;
} tap_band;
FC_HIDDEN void FC(band_to_planes)(const tap_image *x, int64_t depth, int64_t n, const tap_band *b, real *to);

/* weights_few.c: the like for backward weights. */
FC_HIDDEN int FC(few_filters)(const fc_conv2d *d);
FC_HIDDEN fc_status FC(few_filters_weights)(const fc_conv2d *d, const real *x, const real *dy, real *dw);

/* taps_copy.c: the input copied, where that pays; the copy, if one is made, goes to *copy.
 *
 * Merges taps that are neighbours in a row into one tap of KW times the depth, so that few channels still make long
 * runs. It wants the input padded to left and right. taps must be row by row, w ascending by 1, row taps in each row.
 * Only for one group: depth == pitch. */
FC_HIDDEN fc_status FC(merge_taps)(tap_product *p, tap *taps, int64_t row, real **copy);
/* Moves pixels apart that would fall into the same lines of L1. */
FC_HIDDEN fc_status FC(spread_pixels)(tap_product *p, real **copy);

/* x (N, H, W, C) -> (N, H, left + W + right, C), zeros beside; NULL: no memory. */
FC_HIDDEN real *FC(pad_columns)(const tap_image *x, int64_t C, int64_t left, int64_t right);

#endif
