/* Dropout: the mask is a function of (seed, counter, element), so it is never stored and no thread count changes it.
 * J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011): Philox4x32-10. */
#include "kernels/base/simd.h"

enum { LANES = 64, ROUNDS = 10, DRAWS = 4 * LANES, BLOCK = 16 * DRAWS }; /* few lanes: unrolled before vectorised */

/* LANES blocks of the generator at once: random[4 * l + w] is word w of block first + l. */
static FC_NOINLINE void philox(uint64_t first, uint64_t counter, uint64_t seed, uint32_t *restrict random) {
  uint32_t w0[LANES], w1[LANES], w2[LANES], w3[LANES], k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int l = 0; l < LANES; l++) {
    uint64_t block = first + (uint64_t)l;
    w0[l] = (uint32_t)block;
    w1[l] = (uint32_t)(block >> 32);
    w2[l] = (uint32_t)counter;
    w3[l] = (uint32_t)(counter >> 32);
  }
  for (int round = 0; round < ROUNDS; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
    for (int l = 0; l < LANES; l++) {
      uint64_t p0 = (uint64_t)0xD2511F53u * w0[l], p1 = (uint64_t)0xCD9E8D57u * w2[l];
      w0[l] = (uint32_t)(p1 >> 32) ^ w1[l] ^ k0;
      w1[l] = (uint32_t)p1;
      w2[l] = (uint32_t)(p0 >> 32) ^ w3[l] ^ k1;
      w3[l] = (uint32_t)p0;
    }
  for (int l = 0; l < LANES; l++) {
    random[4 * l] = w0[l];
    random[4 * l + 1] = w1[l];
    random[4 * l + 2] = w2[l];
    random[4 * l + 3] = w3[l];
  }
}

/* factor[i] = scale where element first + i is kept, else 0, for DRAWS elements; first is a multiple of DRAWS. */
static void draw(int64_t first, const fc_dropout *d, real *restrict factor) {
  uint32_t random[DRAWS];
  philox((uint64_t)first / 4, d->counter, d->seed, random);
  uint32_t below = (uint32_t)(d->threshold - 1); /* the threshold may be 2**32: nothing is kept */
  real scale = (real)d->scale;
  for (int i = 0; i < DRAWS; i++) factor[i] = random[i] > below ? scale : 0;
  for (int i = 0; d->threshold == 0 && i < DRAWS; i++) factor[i] = scale;
}

/* y = x * factor, and +0 where factor is 0: NaN and inf are dropped too */
FC_INLINE void apply(int64_t n, const real *factor, const real *x, real *y) {
  FOR_VECTORS(n, vec f = load_n(factor + i, lanes);
              store_n(y + i, blend(f == 0, splat(0), load_n(x + i, lanes) * f), lanes));
}

/* x (n) -> y (n): dropped elements are +0, whatever they were */
fc_status FC(dropout)(int64_t n, const fc_dropout *d, const void *x_, void *y_) {
  const real *x = x_;
  real *y = y_;
#pragma omp parallel for num_threads(fc_threads_for(4 * n)) schedule(static)
  for (int64_t first = 0; first < n; first += BLOCK)
    for (int64_t i = first; i < min_i64(n, first + BLOCK); i += DRAWS) {
      real factor[DRAWS];
      draw(i, d, factor);
      int64_t size = min_i64(DRAWS, n - i);
      apply(size, factor, x + i, y + i);
    }
  return FC_OK;
}

/* x (N, P, C) -> y (N, P, C): one draw for each (n, c) */
fc_status FC(spatial_dropout)(int64_t N, int64_t P, int64_t C, const fc_dropout *d, const void *x_, void *y_) {
  const real *x = x_;
  real *y = y_, *factors = fc_alloc((size_t)(ceil_div(N * C, DRAWS) * DRAWS) * sizeof(real));
  if (!factors) return FC_NO_MEMORY;
#pragma omp parallel for num_threads(fc_threads_for(4 * N * C)) schedule(static)
  for (int64_t i = 0; i < N * C; i += DRAWS) draw(i, d, factors + i);
#pragma omp parallel for num_threads(fc_threads_for(N * P * C)) schedule(static)
  for (int64_t i = 0; i < N * P; i++) {
    const real *factor = factors + i / P * C;
    apply(C, factor, x + i * C, y + i * C);
  }
  fc_free(factors);
  return FC_OK;
}
