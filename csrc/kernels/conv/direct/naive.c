/* Convolution as its definition reads: the reference among the kernels, and the first rung of the ladder.
 * x (N, H, W, C), w (KH, KW, C/G, K), y and dy (N, OH, OW, K). */
#include "kernels/base/simd.h"

/* The input row or column that output position o and kernel position k meet. */
FC_INLINE int64_t at(int64_t o, int64_t stride, int64_t before, int64_t k, int64_t dilation) {
  return o * stride - before + k * dilation;
}

/* y[n,oh,ow,k] = sum over kh, kw, c of x[n, h, w, c] w[kh, kw, c, k] */
fc_status FC(conv2d_forward_naive)(const fc_conv2d *d, const void *x_, const void *w_, const fc_epilogue *e, void *y_) {
  const real *x = x_, *w = w_;
  real *y = y_;
  int64_t Cg = d->C / d->G, Kg = d->K / d->G, rows = d->N * d->OH;
#pragma omp parallel for num_threads(fc_threads_for_macs(rows * d->OW * d->K * d->KH * d->KW * Cg)) schedule(static)
  for (int64_t row = 0; row < rows; row++)
    for (int64_t ow = 0; ow < d->OW; ow++) {
      real *to = y + (row * d->OW + ow) * d->y_pitch;
      memset(to, 0, (size_t)d->K * sizeof(real));
      for (int64_t kh = 0; kh < d->KH; kh++)
        for (int64_t kw = 0; kw < d->KW; kw++) {
          int64_t h = at(row % d->OH, d->SH, d->PT, kh, d->DH), col = at(ow, d->SW, d->PL, kw, d->DW);
          if (h < 0 || h >= d->H || col < 0 || col >= d->W) continue; /* zero padding */
          const real *from = x + ((row / d->OH * d->H + h) * d->W + col) * d->x_pitch;
          for (int64_t g = 0; g < d->G; g++)
            for (int64_t c = 0; c < Cg; c++) {
              const real *filter = w + ((kh * d->KW + kw) * Cg + c) * d->K + g * Kg;
              for (int64_t k = 0; k < Kg; k++) to[g * Kg + k] += from[g * Cg + c] * filter[k];
            }
        }
    }
  return FC(apply_epilogue)(rows * d->OW, d->K, d->y_pitch, e, y);
}

/* dx[n,h,w,c] = sum over kh, kw, k of dy[n, oh, ow, k] w[kh, kw, c, k], over the outputs that read (h, w) */
fc_status FC(conv2d_backward_data_naive)(const fc_conv2d *d, const void *dy_, const void *w_, void *dx_) {
  const real *dy = dy_, *w = w_;
  real *dx = dx_;
  int64_t Cg = d->C / d->G, Kg = d->K / d->G, rows = d->N * d->H;
#pragma omp parallel for num_threads(fc_threads_for_macs(rows * d->W * d->K * d->KH * d->KW * Cg)) schedule(static)
  for (int64_t row = 0; row < rows; row++)
    for (int64_t col = 0; col < d->W; col++) {
      real *to = dx + (row * d->W + col) * d->x_pitch;
      memset(to, 0, (size_t)d->C * sizeof(real));
      for (int64_t kh = 0; kh < d->KH; kh++)
        for (int64_t kw = 0; kw < d->KW; kw++) {
          int64_t h = row % d->H + d->PT - kh * d->DH, v = col + d->PL - kw * d->DW;
          if (h < 0 || h % d->SH || h / d->SH >= d->OH || v < 0 || v % d->SW || v / d->SW >= d->OW) continue;
          const real *from = dy + ((row / d->H * d->OH + h / d->SH) * d->OW + v / d->SW) * d->y_pitch;
          for (int64_t g = 0; g < d->G; g++)
            for (int64_t c = 0; c < Cg; c++) {
              const real *filter = w + ((kh * d->KW + kw) * Cg + c) * d->K + g * Kg;
              real sum = 0;
              for (int64_t k = 0; k < Kg; k++) sum += from[g * Kg + k] * filter[k];
              to[g * Cg + c] += sum;
            }
        }
    }
  return FC_OK;
}

/* dw[kh,kw,c,k] = sum over n, oh, ow of x[n, h, w, c] dy[n, oh, ow, k] */
fc_status FC(conv2d_backward_weights_naive)(const fc_conv2d *d, const void *x_, const void *dy_, void *dw_) {
  const real *x = x_, *dy = dy_;
  real *dw = dw_;
  int64_t Cg = d->C / d->G, Kg = d->K / d->G, taps = d->KH * d->KW;
#pragma omp parallel for num_threads(fc_threads_for_macs(d->N * d->OH * d->OW * d->K * taps * Cg)) schedule(static)
  for (int64_t tap = 0; tap < taps; tap++) {
    real *to = dw + tap * Cg * d->K;
    memset(to, 0, (size_t)(Cg * d->K) * sizeof(real));
    for (int64_t row = 0; row < d->N * d->OH; row++)
      for (int64_t ow = 0; ow < d->OW; ow++) {
        int64_t h = at(row % d->OH, d->SH, d->PT, tap / d->KW, d->DH);
        int64_t col = at(ow, d->SW, d->PL, tap % d->KW, d->DW);
        if (h < 0 || h >= d->H || col < 0 || col >= d->W) continue;
        const real *from = x + ((row / d->OH * d->H + h) * d->W + col) * d->x_pitch;
        const real *gradient = dy + (row * d->OW + ow) * d->y_pitch;
        for (int64_t c = 0; c < Cg; c++)
          for (int64_t g = 0; g < d->G; g++)
            for (int64_t k = g * Kg; k < (g + 1) * Kg; k++) to[c * d->K + k] += from[g * Cg + c] * gradient[k];
      }
  }
  return FC_OK;
}
