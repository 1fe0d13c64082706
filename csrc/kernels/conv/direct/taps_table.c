/* Padding and strides without a copy of the input: a pointer for every tap of every output pixel.
 *
 *      a 3 x 3 kernel at the upper left pixel            table
 *
 *      0 0 0           0: padding                        tap 0 -> zeros     tap 4 -> a
 *      0 a b . .                                         tap 1 -> zeros     tap 5 -> b
 *      0 c d . .       x (H, W, C): a, b, c, d           tap 2 -> zeros     tap 7 -> c
 *        . . . .       are C values each                 tap 3 -> zeros     tap 8 -> d
 *                                                        tap 6 -> zeros     span: taps 3 .. 8
 *
 * The span leaves out the kernel rows above and below the image, which would multiply zeros.
 * In: x (N, H, W, pitch); grid pixels (N, GH, GW), row by row; out: pixels of (N, out_h, out_w, out_pitch). */
#include "taps_table.h"

void FC(find_tap_columns)(const tap_product *p, tap_columns *columns) {
  for (int64_t t = 0; t < p->taps; t++) {
    int64_t w = p->tap[t].w;
    columns[t].low = w >= 0 ? 0 : ceil_div(-w, p->step_w);
    columns[t].high = w >= p->in.W ? 0 : (p->in.W - 1 - w) / p->step_w + 1;
  }
}

typedef struct {
  int64_t n, gy, gx;
} grid_pixel;

/* count neighbours of one grid row: pointers of every tap to to->tap[t][i ..]. */
static FC_NOINLINE tap_span point_run(const tap_product *p, grid_pixel at, int64_t count, int64_t i,
                                      const tap_table *to) {
  const real **table = to->tap + i, *zero = to->zero;
  const tap_columns *columns = to->columns;
  tap_span span = {0, 0};
  for (int64_t t = 0; t < p->taps; t++, table += to->pixels) {
    int64_t h = at.gy * p->step_h + p->tap[t].h, r = 0;
    int inside = h >= 0 && h < p->in.H;
    if (inside && span.last == 0) span.first = t;
    if (inside) span.last = t + 1;
    int64_t low = inside ? min_i64(max_i64(columns[t].low - at.gx, 0), count) : count;
    int64_t high = inside ? max_i64(min_i64(columns[t].high - at.gx, count), low) : count;
    for (; r < low; r++) table[r] = zero;
    /* Only of pixels inside: far padding and long steps lead out of what a pointer, or int64, may hold. */
    int64_t row = (at.n * p->in.H + h) * p->in.W + p->tap[t].w;
    for (; r < high; r++) table[r] = p->in.data + (row + (at.gx + r) * p->step_w) * p->in.pitch;
    for (; r < count; r++) table[r] = zero;
  }
  return span;
}

void FC(fill_tap_table)(const tap_product *p, int64_t first, int64_t count, const tap_table *to) {
  grid_pixel at = {first / p->GW / p->GH, first / p->GW % p->GH, first % p->GW};
  for (int64_t i = 0; i < count;) {
    int64_t run = min_i64(p->GW - at.gx, count - i), h = p->first_h + at.gy * p->stride_h;
    tap_span span = point_run(p, at, run, i, to);
    real *out = p->out + ((at.n * p->out_h + h) * p->out_w + p->first_w + at.gx * p->stride_w) * p->out_pitch;
    for (int64_t r = 0; r < run; r++) to->out[i + r] = out + r * p->stride_w * p->out_pitch, to->span[i + r] = span;
    i += run, at.gx = 0;
    if (++at.gy == p->GH) at.gy = 0, at.n++;
  }
}
