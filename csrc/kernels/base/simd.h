/* The vector type of this instruction set and dtype, and a dozen inline operations.
 * The build gives: FC_SUFFIX (avx2_f32 ...), FC_DOUBLE (0 or 1) and, from csrc/isa/<isa>.h, FC_VEC_BYTES and tile
 * sizes. */
#ifndef FC_SIMD_H
#define FC_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "blocking.h"
#include "fastconv.h"
#include "workspace.h"

#define FC_JOIN_(name, suffix) fc_##name##_##suffix
#define FC_JOIN(name, suffix) FC_JOIN_(name, suffix)
#define FC(name) FC_JOIN(name, FC_SUFFIX) /* FC(gemm) is fc_gemm_avx2_f32 */
#define FC_INLINE static inline __attribute__((always_inline))
/* for the large functions of a parallel loop: inlined into one, they run out of registers */
#define FC_NOINLINE __attribute__((noinline))
#define FC_HIDDEN __attribute__((visibility("hidden")))

/* Before a loop of at most n rounds, which becomes straight code: arrays that it indexes can then be registers. To
 * clang gcc's pragma (up to 16 at least) is no more than a hint. */
#define FC_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) FC_PRAGMA(clang loop unroll(full))
#else
#define UNROLL(n) FC_PRAGMA(GCC unroll n)
#endif

#if FC_DOUBLE
typedef double real;
typedef int64_t integer; /* as wide as real */
#define FC_DTYPE FC_FLOAT64
#else
typedef float real;
typedef int32_t integer;
#define FC_DTYPE FC_FLOAT32
#endif

#define VL ((int)(FC_VEC_BYTES / sizeof(real))) /* lanes */

typedef real vec __attribute__((vector_size(FC_VEC_BYTES)));
typedef integer ivec __attribute__((vector_size(FC_VEC_BYTES), may_alias));
typedef real vec_unaligned __attribute__((vector_size(FC_VEC_BYTES), aligned(sizeof(real)), may_alias));

#define X(result, name, arguments) FC_HIDDEN result FC(name) arguments;
FC_KERNELS(X)
#undef X

FC_INLINE vec load(const real *p) { return *(const vec_unaligned *)p; }
FC_INLINE void store(real *p, vec v) { *(vec_unaligned *)p = v; }
FC_INLINE vec splat(real a) { return a - (vec){0}; } /* a + 0 would lose the sign of -0 */

/* v, read once: gcc would rather read memory again at every use of a value that it has seen loaded. */
FC_INLINE vec in_register(vec v) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(v));
#elif defined(__x86_64__)
  __asm__("" : "+x"(v));
#endif
  return v;
}

/* A store past the caches, for what is read much later; p is aligned to the vector. End a run of them with the fence.
 */
#if defined(__AVX512F__)
FC_INLINE void stream(real *p, vec v) { _mm512_stream_si512((__m512i *)p, (__m512i)v); }
#elif defined(__AVX2__)
FC_INLINE void stream(real *p, vec v) { _mm256_stream_si256((__m256i *)p, (__m256i)v); }
#elif defined(__x86_64__)
FC_INLINE void stream(real *p, vec v) { _mm_stream_si128((__m128i *)p, (__m128i)v); }
#else
FC_INLINE void stream(real *p, vec v) { store(p, v); }
#endif
FC_INLINE void stream_fence(void) {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

/* Whether a result of so many elements is too large for a cache to keep, and begins where a line does. */
FC_INLINE int goes_past(const void *to, int64_t elements) {
  return elements * (int64_t)sizeof(real) >= STREAM_BYTES && (uintptr_t)to % CACHE_LINE == 0;
}

/* The first n < VL lanes; the others are 0 and, in memory, untouched. Vector extensions have no word for a mask. */
#if defined(__AVX512F__) && FC_DOUBLE
FC_INLINE vec load_part(const real *p, int64_t n) { return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
FC_INLINE void store_part(real *p, vec v, int64_t n) {
  _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
}
#elif defined(__AVX512F__)
FC_INLINE vec load_part(const real *p, int64_t n) { return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
FC_INLINE void store_part(real *p, vec v, int64_t n) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#else
FC_INLINE vec load_part(const real *p, int64_t n) {
  vec v = {0};
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}
FC_INLINE void store_part(real *p, vec v, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
}
#endif
FC_INLINE vec load_n(const real *p, int64_t n) { return n == VL ? load(p) : load_part(p, n); }
FC_INLINE void store_n(real *p, vec v, int64_t n) {
  if (n == VL)
    store(p, v);
  else
    store_part(p, v, n);
}

/* Runs a statement for each vector of n elements: lanes (VL, or what is left at the end) of them from i on. */
#define FOR_VECTORS(n, ...)             \
  do {                                  \
    const int64_t count_ = (n);         \
    int64_t i = 0;                      \
    for (; i + VL <= count_; i += VL) { \
      const int64_t lanes = VL;         \
      __VA_ARGS__;                      \
    }                                   \
    const int64_t lanes = count_ - i;   \
    if (lanes > 0 && lanes < VL) {      \
      __VA_ARGS__;                      \
    }                                   \
  } while (0)

/* past: see goes_past; a thread then ends with stream_fence. */
FC_INLINE void put(real *p, vec v, int64_t n, int past) {
  if (past && n == VL)
    stream(p, v);
  else
    store_n(p, v, n);
}

/* Lane l is l: from memory, as gcc would insert lane after lane. */
FC_INLINE ivec lane_numbers(void) {
  static const integer number[16] __attribute__((aligned(64))) = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return *(const ivec *)number;
}

/* Lane l is -1 (true) where l < n. */
FC_INLINE ivec lanes_below(int64_t n) { return lane_numbers() < (integer)n; }

FC_INLINE vec blend(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
/* NaN in v stays NaN: a comparison with NaN is false. */
FC_INLINE vec at_least(vec v, vec low) { return blend(v < low, low, v); }
FC_INLINE vec at_most(vec v, vec high) { return blend(v > high, high, v); }

/* Lane l of the result is lane index[l] of a followed by b. */
FC_INLINE vec shuffle(vec a, vec b, ivec index) {
#if defined(__clang__)
  vec v;
  for (int l = 0; l < VL; l++) v[l] = index[l] < VL ? a[index[l]] : b[index[l] - VL];
  return v;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

/* Lane l of the result is lane index[l] of a. */
FC_INLINE vec permute(vec a, ivec index) {
#if defined(__clang__)
  return shuffle(a, a, index);
#else
  return __builtin_shuffle(a, index);
#endif
}

/* VL rows of VL lanes become their transpose: blocks of 1, 2, 4 ... lanes swap across the diagonal. */
FC_INLINE void transpose(vec *row) {
  UNROLL(4)
  for (int s = 1; s < VL; s *= 2) {
    ivec lane = lane_numbers(), upper = lane + (((lane & s) != 0) & (VL - s)), lower = upper + s;
    UNROLL(16)
    for (int i = 0; i < VL; i++) {
      if (i & s) continue;
      vec a = row[i], b = row[i + s];
      row[i] = shuffle(a, b, upper);
      row[i + s] = shuffle(a, b, lower);
    }
  }
}

FC_INLINE int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
FC_INLINE int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
FC_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
