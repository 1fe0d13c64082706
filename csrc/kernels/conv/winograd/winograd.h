/* Winograd's minimal filtering F(m x m, r x r), m = points - r + 1 (Lavin and Gray, 2016): tiles of the input and the
 * filters become values at points x points points, where the convolution is a product for each point.
 * entry.c is where a call comes in and any stride becomes 1, forward_and_data.c and weights.c have the passes,
 * transform.c the transforms, cost.c when all of this pays. */
#ifndef FC_WINOGRAD_H
#define FC_WINOGRAD_H

#include "kernels/conv/direct/taps.h"

/* Tile t of image n covers output pixels (ty * m .., tx * m ..); it reads from (ty * m - top, tx * m - left) on. */
typedef struct {
  int points, r, m;
  int64_t C, K; /* channels of the input, columns of the products */
  int flipped;  /* filters are (r, r, K, C), their last tap first */
  tap_image in;
  int64_t top, left;
  int64_t OH, OW, TH, TW, tiles; /* output size, tiles in a column, in a row, in all */
  tile_output output;            /* bias and activation */
} winograd;

/* Values at all points of some tiles: value xi of row t starts at data[xi * plane + t * pitch]. Rows are padded to
 * whole vectors with zeros; the odd gaps keep planes and rows from falling into the same cache sets. */
typedef struct {
  real *data;
  int64_t pitch, plane;
} winograd_values;

FC_INLINE int64_t winograd_pitch(int64_t channels) {
  int64_t pitch = padded_cols(channels);
  return pitch * (int64_t)sizeof(real) % 1024 ? pitch : pitch + VL;
}
FC_INLINE int64_t winograd_plane(int64_t rows, int64_t pitch) {
  const int64_t way = CACHE_WAY / (int64_t)sizeof(real);
  return ceil_div(rows * pitch, way) * way + CACHE_LINE / (int64_t)sizeof(real);
}

/* m and the tiles, from points, r, the image and the output size. */
FC_INLINE void winograd_cover(winograd *p) {
  p->m = p->points - p->r + 1;
  p->TH = ceil_div(p->OH, p->m), p->TW = ceil_div(p->OW, p->m), p->tiles = p->in.N * p->TH * p->TW;
}

/* Rows of register tiles that are all about as high, for so many rows. */
FC_INLINE int64_t even_height(int64_t rows, int width) { return ceil_div(rows, ceil_div(rows, tile_height(width))); }

/* Tiles first .. first + count of the input, (points x points) pixels each -> rows 0 .. of to; zero: C zeros. */
typedef void winograd_gather_fn(const winograd *p, int64_t first, int64_t count, const real *zero,
                                const winograd_values *to);
/* w (r, r, C, K) or flipped, channels c .. c + count, columns of a panel -> u[xi * plane], (count, width * VL) each */
typedef void winograd_filter_fn(const winograd *p, const real *w, int64_t c, int64_t count, int64_t start, int width,
                                real *u, int64_t plane);
/* Rows 0 .. count of from, K columns each -> output pixels of tiles first .. */
typedef void winograd_output_fn(const winograd *p, int64_t first, int64_t count, const winograd_values *from, real *y,
                                int64_t y_pitch);
/* A row of products summed over all tiles, at every point a plane apart -> its row of each tap of dw (r, r, C, K). */
typedef void winograd_dw_fn(const winograd *p, const real *values, int64_t plane, int64_t cols, real *dw,
                            int64_t dw_pitch);

typedef struct {
  int points, r;
  winograd_gather_fn *input;    /* points x points pixels */
  winograd_gather_fn *gradient; /* m x m pixels of dy, for backward weights: in is dy, C its channels */
  winograd_filter_fn *filter;
  winograd_output_fn *output;
  winograd_dw_fn *dw;
} winograd_transforms;

FC_HIDDEN const winograd_transforms *FC(winograd_find)(int points, int r);

/* w (r, r, C, K) -> u [panel][points * points][C][width * VL] */
FC_HIDDEN void FC(winograd_transform_filters)(const winograd *p, const real *w, real *u);

/* The three passes at stride 1: x (N, H, W, C), w and dw (r, r, C, K), y and dy (N, OH, OW, K). u: transformed filters,
 * or NULL. */
FC_HIDDEN fc_status FC(winograd_forward)(const fc_conv2d *d, int points, const real *x, const real *w, const real *u,
                                         const fc_epilogue *e, real *y);
FC_HIDDEN fc_status FC(winograd_backward_data)(const fc_conv2d *d, int points, const real *dy, const real *w, real *dx);
FC_HIDDEN fc_status FC(winograd_backward_weights)(const fc_conv2d *d, int points, const real *x, const real *dy,
                                                  real *dw);

#endif
