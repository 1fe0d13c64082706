/* im2col: x (N, H, W, C) -> cols (N * OH * OW, KH * KW * C), and its adjoint col2im. */
#include "kernels/base/simd.h"

fc_status FC(im2col)(const fc_conv2d *d, const void *x_, void *cols_) {
  const real *x = x_;
  real *cols = cols_;
  int64_t rows = d->N * d->OH, width = d->KH * d->KW * d->C;
  size_t pixel = (size_t)d->C * sizeof(real);
#pragma omp parallel for num_threads(fc_threads_for(rows * d->OW * width)) schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    int64_t n = row / d->OH, top = row % d->OH * d->SH - d->PT;
    real *to = cols + row * d->OW * width;
    for (int64_t ow = 0; ow < d->OW; ow++)
      for (int64_t kh = 0; kh < d->KH; kh++) {
        int64_t h = top + kh * d->DH, left = ow * d->SW - d->PL;
        const real *from = x + (n * d->H + h) * d->W * d->x_pitch;
        int inside = h >= 0 && h < d->H;
        if (inside && d->DW == 1 && d->x_pitch == d->C && left >= 0 && left + d->KW <= d->W) {
          memcpy(to, from + left * d->C, pixel * (size_t)d->KW); /* a whole kernel row at once */
          to += d->KW * d->C;
          continue;
        }
        for (int64_t kw = 0; kw < d->KW; kw++, to += d->C) {
          int64_t w = left + kw * d->DW;
          if (inside && w >= 0 && w < d->W)
            memcpy(to, from + w * d->x_pitch, pixel);
          else
            memset(to, 0, pixel);
        }
      }
  }
  return FC_OK;
}

/* cols (N * OH * OW, KH * KW * C) -> dx (N, H, W, C): every column is added to the pixel it was taken from. A thread
 * owns whole rows of dx, and gathers what belongs to them in the order kh, oh, ow, kw. */
fc_status FC(col2im)(const fc_conv2d *d, const void *cols_, void *dx_) {
  const real *cols = cols_;
  real *dx = dx_;
  int64_t rows = d->N * d->H, width = d->KH * d->KW * d->C;
#pragma omp parallel for num_threads(fc_threads_for(d->N * d->OH * d->OW * width)) schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    int64_t n = row / d->H, h = row % d->H;
    real *to = dx + row * d->W * d->x_pitch;
    for (int64_t w = 0; w < d->W; w++) memset(to + w * d->x_pitch, 0, (size_t)d->C * sizeof(real));
    for (int64_t kh = 0; kh < d->KH; kh++) {
      int64_t top = h + d->PT - kh * d->DH, oh = top / d->SH;
      if (top < 0 || top % d->SH || oh >= d->OH) continue;
      const real *from = cols + (n * d->OH + oh) * d->OW * width + kh * d->KW * d->C;
      for (int64_t ow = 0; ow < d->OW; ow++, from += width)
        for (int64_t kw = 0; kw < d->KW; kw++) {
          int64_t w = ow * d->SW - d->PL + kw * d->DW;
          if (w < 0 || w >= d->W) continue;
          for (int64_t c = 0; c < d->C; c++) to[w * d->x_pitch + c] += from[kw * d->C + c];
        }
    }
  }
  return FC_OK;
}
