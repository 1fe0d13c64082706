/* What this machine can do at most, for `fastconv bench`: multiply-adds that wait for nothing, and the triad of the
 * STREAM benchmark (McCalpin, 1995). */
#include "simd.h"

enum { CHAINS = 12 }; /* an FMA takes 4 cycles and two start in each: 8 independent ones keep both units busy */

/* sums (parts, VL): each part does `rounds` x CHAINS x VL times s = s * start[0] + start[1]. The sums are stored, so
 * that the compiler cannot leave them out. *flop: additions and multiplications. */
fc_status FC(fma_peak)(int64_t parts, int64_t rounds, const void *start, void *sums, int64_t *flop) {
  const vec a = splat(((const real *)start)[0]), b = splat(((const real *)start)[1]);
  const int threads = fc_threads_for_macs(parts * rounds * CHAINS * VL);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t part = 0; part < parts; part++) {
    vec s[CHAINS];
    UNROLL(12)
    for (int i = 0; i < CHAINS; i++) s[i] = b + (real)i;
    for (int64_t round = 0; round < rounds; round++) {
      UNROLL(12)
      for (int i = 0; i < CHAINS; i++) s[i] = s[i] * a + b;
    }
    for (int i = 1; i < CHAINS; i++) s[0] += s[i];
    store((real *)sums + part * VL, s[0]);
  }
  *flop = 2 * parts * rounds * CHAINS * VL;
  return FC_OK;
}

/* a (n) = b (n) + s * c (n) */
fc_status FC(triad)(int64_t n, double s, const void *b, const void *c, void *a) {
  const vec factor = splat((real)s);
  const int threads = fc_threads_for(3 * n);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < n; i += VL) {
    const int64_t count = min_i64(VL, n - i);
    store_n((real *)a + i, load_n((const real *)b + i, count) + factor * load_n((const real *)c + i, count), count);
  }
  return FC_OK;
}
