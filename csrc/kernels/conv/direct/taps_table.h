/* Where the taps of some grid pixels lie: the table of pointers that taps_table.c fills and a tile reads. */
#ifndef FC_TAPS_TABLE_H
#define FC_TAPS_TABLE_H

#include "taps.h"

/* Grid columns low .. high - 1 whose input column gx * step + w lies inside the image. */
typedef struct {
  int64_t low, high;
} tap_columns;

/* Taps first .. last - 1 of a pixel; all others meet rows of padding. */
typedef struct {
  int64_t first, last;
} tap_span;

/* The first two are the same for all threads, the others a thread's own. */
typedef struct {
  const tap_columns *columns; /* [taps] */
  const real *zero;           /* depth zeros: what lies outside */
  int64_t pixels;             /* that there is room for */
  const real **tap;           /* [taps][pixels] */
  real **out;                 /* [pixels] */
  tap_span *span;             /* [pixels] */
} tap_table;

FC_HIDDEN void FC(find_tap_columns)(const tap_product *p, tap_columns *columns);

/* Grid pixels first .. first + count - 1. */
FC_HIDDEN void FC(fill_tap_table)(const tap_product *p, int64_t first, int64_t count, const tap_table *to);

#endif
