/* Which pixels a band of dw meets: runs, along which x and dy advance by fixed steps.
 *
 *      the band's tap lies one column to the left, PL = 1:     dy row   d0 d1 d2 d3
 *                                                                          |  |  |     one run of 3 steps;
 *      every output row is one run; the pixels that            x row       x0 x1 x2 x3 d0 would meet padding
 *      meet padding are cut off at its ends.
 *
 * x (N, H, W, C), dy (N, OH, OW, K). */
#include "weights.h"

/* Output positions o of an axis whose input o * stride + offset lies in [0, size): [*low, *high). */
static void reach(int64_t size, int64_t outputs, int64_t stride, int64_t offset, int64_t *low, int64_t *high) {
  *low = offset >= 0 ? 0 : ceil_div(-offset, stride);
  *high = offset >= size ? 0 : min_i64(outputs, (size - 1 - offset) / stride + 1);
}

weights_rows FC(weights_input_rows)(const fc_conv2d *d, weights_rows rows) {
  int64_t first = rows.begin % d->OH * d->SH - d->PT, last = rows.end - 1;
  int64_t h = last % d->OH * d->SH - d->PT + (d->KH - 1) * d->DH;
  return (weights_rows){rows.begin / d->OH * d->H + min_i64(max_i64(first, 0), d->H - 1),
                        last / d->OH * d->H + min_i64(max_i64(h, 0), d->H - 1) + 1};
}

void FC(find_weights_runs)(const weights_plan *p, weights_rows rows, const weights_operands *from,
                           const weights_scratch *to) {
  const fc_conv2d *d = p->d;
  for (int64_t band = 0; band < p->bands; band++) {
    int64_t kh = band * p->columns / d->KW, kw = band * p->columns % d->KW, count = 0, low, high;
    int64_t left = kw * d->DW - d->PL + p->left;
    tile_segment *s = to->segments + band * p->block;
    reach(p->x.W - (p->columns - 1), d->OW, d->SW, left, &low, &high);
    for (int64_t row = rows.begin; row < rows.end && low < high; row++) {
      int64_t h = row % d->OH * d->SH - d->PT + kh * d->DH;
      if (h < 0 || h >= d->H) continue;
      s[count].a = from->x + ((row / d->OH * d->H + h) * p->x.W + low * d->SW + left) * from->x_pitch;
      s[count].b = from->dy + ((row - rows.begin) * d->OW + low) * from->dy_pitch;
      s[count++].steps = high - low;
    }
    to->count[band] = count;
  }
}
