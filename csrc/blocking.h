/* How much of a cache the blocks of each kernel may fill: all budgets in bytes, in one place. They were found by
 * measuring, on cores with the caches below; a larger cache leaves some of its room unused. What is cut by the number
 * of elements instead (gemm's depth, the chunks of columns.h) stands where it is used. */
#ifndef FC_BLOCKING_H
#define FC_BLOCKING_H

enum {
  L1_BYTES = 32 << 10,
  L2_BYTES = 1 << 20,
  SHARED_BYTES = 16 << 20, /* of the last cache, for what threads make for one another */
  CACHE_LINE = 64,
  CACHE_WAY = L1_BYTES / 8, /* so many bytes apart, everything falls into the same few lines of L1 */

  /* a result this large goes past the caches: none would keep it until it is read */
  STREAM_BYTES = SHARED_BYTES / 2,

  /* gemm: the largest packed B with which packing A does not pay */
  GEMM_ROWS_BYTES = L2_BYTES,

  /* implicit GEMM, forward and backward data: the input of a block of pixels, while panels of weights stream past */
  TAPS_BYTES = L2_BYTES * 3 / 4,
  /* backward weights: a block of rows of x and dy */
  WEIGHTS_BYTES = L2_BYTES * 3 / 8,
  /* either with few filters: a band of planes */
  PLANES_BYTES = L1_BYTES * 3,
  /* convolution by im2col: the column matrix */
  COLUMNS_BYTES = SHARED_BYTES,

  /* Winograd: values of a block of tiles, beside a panel of filters or the sums of backward weights */
  WINOGRAD_BLOCK_BYTES = L2_BYTES / 2,
  /* sums of backward weights that may lie beside them */
  WINOGRAD_SUM_BYTES = L2_BYTES * 11 / 16,
  /* values that all threads share at a time: of the input, or of x and dy */
  WINOGRAD_WAVE_BYTES = SHARED_BYTES * 3 / 4,
  WINOGRAD_WEIGHTS_WAVE_BYTES = SHARED_BYTES
};

#endif
