/* Checks a convolution's descriptor and computes its output size, all in overflow-checked int64. */
#include "fastconv.h"

static int multiply(int64_t *product, int64_t factor) { return __builtin_mul_overflow(*product, factor, product); }

/* sizes of one tensor: every product, in bytes of the wider dtype, must fit */
static int too_large(int64_t a, int64_t b, int64_t c, int64_t d) {
  int64_t size = (int64_t)sizeof(double);
  return multiply(&size, a) || multiply(&size, b) || multiply(&size, c) || multiply(&size, d);
}

static int64_t output_size(int64_t size, int64_t before, int64_t after, int64_t k, int64_t dilation, int64_t stride) {
  int64_t extent, padded;
  if (__builtin_mul_overflow(k - 1, dilation, &extent) || __builtin_add_overflow(extent, 1, &extent)) return 0;
  if (__builtin_add_overflow(size, before, &padded) || __builtin_add_overflow(padded, after, &padded)) return 0;
  return extent > padded ? 0 : (padded - extent) / stride + 1;
}

fc_status fc_conv2d_check(fc_conv2d *d) {
  if (d->N < 0 || d->H < 1 || d->W < 1 || d->C < 1 || d->KH < 1 || d->KW < 1 || d->K < 1 || d->G < 1)
    return FC_BAD_GEOMETRY;
  if (d->SH < 1 || d->SW < 1 || d->DH < 1 || d->DW < 1 || d->PT < 0 || d->PB < 0 || d->PL < 0 || d->PR < 0)
    return FC_BAD_GEOMETRY;
  if (d->C % d->G || d->K % d->G) return FC_BAD_GEOMETRY;
  if (d->x_pitch == 0) d->x_pitch = d->C;
  if (d->y_pitch == 0) d->y_pitch = d->K;
  if (d->x_pitch < d->C || d->y_pitch < d->K) return FC_BAD_GEOMETRY;
  d->OH = output_size(d->H, d->PT, d->PB, d->KH, d->DH, d->SH);
  d->OW = output_size(d->W, d->PL, d->PR, d->KW, d->DW, d->SW);
  if (d->OH < 1 || d->OW < 1) return FC_BAD_GEOMETRY;
  if (too_large(d->N, d->H, d->W, d->x_pitch) || too_large(d->N, d->OH, d->OW, d->y_pitch) ||
      too_large(d->KH, d->KW, d->C, d->K))
    return FC_OVERFLOW;
  return FC_OK;
}
