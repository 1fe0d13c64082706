/* Many small products of one shape, shared out whole: locally connected layers. */
#include "simd.h"

/* C_i (M, N) = A_i (M, K) B_i (K, N) [+ bias_i (N)], the i-th operand `step` elements after the one before. */
fc_status FC(gemm_batch)(const fc_gemm_batch *s, const void *a_, const void *b_, const void *bias_, void *c_) {
  const real *a = a_, *b = b_, *bias = bias_;
  real *c = c_;
  int failed = 0;
#pragma omp parallel for num_threads(fc_threads_for(s->count * s->each.M * s->each.N * s->each.K)) schedule(static) \
    reduction(| : failed)
  for (int64_t i = 0; i < s->count; i++) { /* gemm's own parallel regions, nested in this one, have one thread */
    fc_epilogue e = {bias ? bias + i * s->bias_step : NULL, FC_LINEAR, 0, NULL};
    failed |= FC(gemm)(&s->each, a + i * s->a_step, b + i * s->b_step, &e, c + i * s->c_step) != FC_OK;
  }
  return failed ? FC_NO_MEMORY : FC_OK;
}
