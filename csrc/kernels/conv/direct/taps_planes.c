/* Images as planes, channel by channel, for kernels whose lanes are neighbouring pixels.
 *
 *     a0 b0 c0 a1 b1 c1 a2 b2 c2 ...      ->      a0 a1 a2 ...
 *     pixels of 3 channels                        b0 b1 b2 ...
 *                                                 c0 c1 c2 ...     rows of a band, one after the other
 *
 * x (N, H, W, pitch) -> planes (channel, row, column). */
#include "taps.h"

void FC(to_planes)(const real *x, int64_t count, int64_t depth, int64_t pitch, int64_t plane, real *to) {
  if (pitch == 1) {
    memcpy(to, x, (size_t)count * sizeof(real));
    return;
  }
  for (int64_t c = 0; c < depth; c += VL)
    for (int64_t i = 0; i < count; i += VL) {
      int64_t lanes = min_i64(depth - c, VL), pixels = min_i64(count - i, VL);
      vec block[VL];
      for (int r = 0; r < VL; r++) block[r] = r < pixels ? load_n(x + (i + r) * pitch + c, lanes) : (vec){0};
      transpose(block);
      for (int64_t l = 0; l < lanes; l++) store_n(to + (c + l) * plane + i, block[l], pixels);
    }
}

void FC(band_to_planes)(const tap_image *x, int64_t depth, int64_t n, const tap_band *b, real *to) {
  int64_t low = max_i64(0, b->left), columns = min_i64(x->W, b->left + b->wide) - low;
  for (int64_t r = 0; r < b->rows && columns > 0; r++) {
    int64_t h = b->top + r;
    if (h < 0 || h >= x->H) continue;
    FC(to_planes)(x->data + ((n * x->H + h) * x->W + low) * x->pitch, columns, depth, x->pitch, b->plane,
                  to + r * b->wide + low - b->left);
  }
}
