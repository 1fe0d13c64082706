/* Backward weights of implicit GEMM: what its three files share. weights.c cuts the work into tasks,
 * weights_block.c does a task block by block, weights_runs.c finds the pixels that a band meets. */
#ifndef FC_WEIGHTS_H
#define FC_WEIGHTS_H

#include "taps.h"

/* dw of one group as bands: KH * KW taps of Cg rows, or KH whole kernel rows of KW * C rows. */
typedef struct {
  const fc_conv2d *d;
  tap_image x, dy;                           /* of this group */
  int64_t bands, height;                     /* bands of dw, rows of one */
  int64_t columns;                           /* kernel columns a band covers: 1 or KW */
  int64_t left;                              /* columns that were added to the left of x */
  int64_t cols;                              /* Kg */
  int pack_x, pack_dy;                       /* tiles of x, panels of dy */
  int64_t chunks, panel_groups, tile_groups; /* of output rows, panels, row tiles: a task is one of each */
  int64_t block, block_in;                   /* output rows that are worked on at a time, input rows they may need */
} weights_plan;

/* Output rows begin .. end - 1, over all images. */
typedef struct {
  int64_t begin, end;
} weights_rows;

/* What a thread works with. */
typedef struct {
  const real *zeros;      /* bias of the tiles */
  tile_segment *segments; /* [bands][block]: the runs of each band in a block */
  int64_t *count;         /* [bands] */
  real *x;                /* [row tile][input row][W][tile rows] */
  real *dy;               /* [output row][OW][width * VL] */
} weights_scratch;

FC_INLINE int64_t row_tiles(const weights_plan *p, int width) { return ceil_div(p->height, tile_height(width)); }

/* Element (row, w) of x lies at x + (row * W + w) * x_pitch, pixel i of the block at dy + i * dy_pitch. */
typedef struct {
  const real *x, *dy;
  int64_t x_pitch, dy_pitch;
} weights_operands;

/* The runs of pixels that each band meets in some output rows, to s->segments and s->count. */
FC_HIDDEN void FC(find_weights_runs)(const weights_plan *p, weights_rows rows, const weights_operands *from,
                                     const weights_scratch *s);
/* Rows of x, over all images, that output rows meet. */
FC_HIDDEN weights_rows FC(weights_input_rows)(const fc_conv2d *d, weights_rows rows);

/* Task: part `group` of dw, summed over output rows, into dw (bands * height, K). */
FC_HIDDEN void FC(run_weights_task)(const weights_plan *p, int64_t group, weights_rows rows, const weights_scratch *s,
                                    real *dw);

#endif
