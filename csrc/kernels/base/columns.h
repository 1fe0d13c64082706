/* Work on the columns of x (rows, C), for any C: several rows of few channels are taken as one wide row, so that short
 * rows fill vectors. A wide row holds `repeat` rows; what a kernel needs per channel is repeated as often. */
#ifndef FC_COLUMNS_H
#define FC_COLUMNS_H

#include "simd.h"

typedef struct {
  int64_t C, repeat, width; /* width = C * repeat */
  int64_t size;             /* rows * C */
  int64_t chunk, chunks;    /* elements of a chunk (whole wide rows); their number. Both by shape alone. */
} columns;

enum { WIDE = 256, CHUNK = 16384 }; /* elements: a chunk is summed at once and fits L2 */

/* Rows that lie pitch >= C apart are not repeated: they cannot be one. */
FC_INLINE columns columns_of(int64_t rows, int64_t C, int64_t pitch) {
  columns k = {.C = C, .repeat = 1, .size = rows * C};
  if (C < WIDE && pitch == C) {
    while (C * k.repeat % VL) k.repeat *= 2; /* VL is a power of two */
    while (C * k.repeat < WIDE / 2) k.repeat *= 2;
  }
  k.width = C * k.repeat;
  k.chunk = max_i64(16, CHUNK / k.width) * k.width;
  k.chunks = max_i64(1, ceil_div(k.size, k.chunk));
  return k;
}

/* First chunk of one of `parts` shares, one a thread. A second pass goes through its share backwards, as the end of it
 * is what the first pass has left in the cache. */
FC_INLINE int64_t share_start(const columns *k, int64_t part, int64_t parts) { return k->chunks * part / parts; }
FC_INLINE int64_t chunk_size(const columns *k, int64_t chunk) { return min_i64(k->chunk, k->size - chunk * k->chunk); }

/* Where a chunk begins in an array whose rows lie pitch apart (wide rows: their width). */
FC_INLINE int64_t chunk_start(const columns *k, int64_t chunk, int64_t pitch) {
  return chunk * (k->chunk / k->width) * pitch;
}

/* The first C values of a wide row, again for its other rows. */
FC_INLINE void repeat_columns(const columns *k, real *wide) {
  for (int64_t r = 1; r < k->repeat; r++) memcpy(wide + r * k->C, wide, (size_t)k->C * sizeof(real));
}

/* values (C) -> wide (width) */
FC_INLINE void widen(const columns *k, const real *values, real *wide) {
  memcpy(wide, values, (size_t)k->C * sizeof(real));
  repeat_columns(k, wide);
}

/* How many of the chunk's values lie in wide column j. */
FC_INLINE int64_t count_in_column(const columns *k, int64_t chunk, int64_t j) {
  int64_t size = chunk_size(k, chunk);
  return size / k->width + (j < size % k->width);
}

#endif
