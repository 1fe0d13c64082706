/* Activations, alone and as the end of another kernel. */
#include "simd.h"

/* y: rows of K values, pitch apart, changed in place: + bias, then the activation */
fc_status FC(apply_epilogue)(int64_t rows, int64_t K, int64_t pitch, const fc_epilogue *e, void *y_) {
  real *y = y_;
  const real *bias = e->bias, *slope = e->slope;
  real parameter = (real)e->parameter;
#pragma omp parallel for num_threads(fc_threads_for(rows *K)) schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < K; k++) {
      real v = y[r * pitch + k] + (bias ? bias[k] : 0);
      if (e->kind == FC_RELU || e->kind == FC_RELU6) v = v < 0 ? 0 : v;
      if (e->kind == FC_RELU6) v = v > 6 ? 6 : v;
      if (e->kind == FC_LEAKY_RELU) v = v < 0 ? v * parameter : v;
      if (e->kind == FC_PRELU) v = v < 0 ? v * slope[k] : v;
      y[r * pitch + k] = v;
    }
  return FC_OK;
}
