/* exp, expm1, log and tanh of a vector, within about 2 ulp, by range reduction and a power series.
 * NaN stays NaN, overflow gives inf, results below the smallest normal number are denormal or 0.
 * Arithmetic on denormal numbers is slow, so arguments are moved by TINY, which changes none of SMALL or more; below
 * SMALL exp(x) is 1 anyway, and tanh(x) and expm1(x) are x. */
#ifndef FC_VMATH_H
#define FC_VMATH_H

#include "simd.h"

#if FC_DOUBLE
enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023, EXP_TERMS = 14, LOG_TERMS = 11 };
#define ROUND_MAGIC 0x1.8p52      /* x + it - it is x rounded to an integer, which is in the low bits of the sum */
#define LN2_HIGH 0x1.62e42fefap-1 /* short enough that n * LN2_HIGH is exact */
#define LN2_LOW 0x1.cf79abc9e3b39p-40
#define EXP_MIN -746.0
#define EXP_MAX 710.0
#define SMALLEST_NORMAL 0x1p-1022
#define SMALL 0x1p-54
#define TINY 0x1p-120
#else
enum { MANTISSA_BITS = 23, EXPONENT_BIAS = 127, EXP_TERMS = 8, LOG_TERMS = 6 };
#define ROUND_MAGIC 0x1.8p23f
#define LN2_HIGH 0x1.62ep-1f
#define LN2_LOW 0x1.0bfbe8p-15f
#define EXP_MIN -104.0f
#define EXP_MAX 89.0f
#define SMALLEST_NORMAL 0x1p-126f
#define SMALL 0x1p-30f
#define TINY 0x1p-60f
#endif
#define LOG2_E 1.442695040888963407
#define SQRT_HALF 0.7071067811865475244

/* 1/k! */
static const real inverse_factorial[14] = {
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

/* 2**n for n that gives a normal number */
FC_INLINE vec power_of_two(ivec n) { return (vec)((n + EXPONENT_BIAS) << MANTISSA_BITS); }

/* x = n ln 2 + r with |r| <= ln(2) / 2: gives n and exp(r) - 1. */
FC_INLINE vec reduced_expm1(vec x, ivec *n) {
  vec shifted = x * (real)LOG2_E + ROUND_MAGIC, whole = shifted - ROUND_MAGIC;
  *n = (ivec)shifted - (ivec)splat(ROUND_MAGIC);
  vec r = x - whole * LN2_HIGH - whole * LN2_LOW;
  vec sum = splat(inverse_factorial[EXP_TERMS - 1]);
  for (int k = EXP_TERMS - 2; k >= 2; k--) sum = sum * r + inverse_factorial[k];
  return r + r * r * sum;
}

/* exp(x) for x <= EXP_MAX */
FC_INLINE vec vexp_bounded(vec x) {
  ivec n;
  vec p = reduced_expm1(at_least(x, splat(EXP_MIN)), &n);
  ivec half = n >> 1; /* in two steps: 2**n may be inf or denormal where the result is neither */
  return (p + 1) * power_of_two(half) * power_of_two(n - half);
}

FC_INLINE vec vexp(vec x) { return vexp_bounded(at_most(x, splat(EXP_MAX))); }

/* exp(x) - 1 for x <= -SMALL, or nearly so */
FC_INLINE vec vexpm1_bounded(vec x) {
  ivec n;
  vec p = reduced_expm1(at_least(x, splat(-40)), &n); /* there it is -1 already */
  vec scale = power_of_two(n);
  return scale * p + (scale - 1);
}

/* exp(x) - 1 for x <= 0, else x */
FC_INLINE vec vexpm1_negative(vec x) { return blend(x > -SMALL, x, vexpm1_bounded(at_most(x, splat(0)) - TINY)); }

FC_INLINE vec absolute(vec v) { return (vec)((ivec)v & ~(ivec)splat((real)-0.0)); }
FC_INLINE vec with_sign_of(vec magnitude, vec sign) {
  ivec bit = (ivec)splat((real)-0.0);
  return (vec)(((ivec)magnitude & ~bit) | ((ivec)sign & bit));
}

FC_INLINE vec vtanh(vec x) {
  vec size = absolute(x), t = vexpm1_bounded(-2 * (size + TINY));
  return blend(size < SMALL, x, with_sign_of(t / (t + 2), x));
}

/* 1 / (1 + exp(-x)), from exp(-|x|) so that nothing overflows */
FC_INLINE vec vsigmoid(vec x) {
  vec e = vexp_bounded(-TINY - absolute(x));
  return blend(x < 0, e, splat(1)) / (e + 1);
}

/* log(m 2**n) = n ln 2 + 2 atanh((m - 1) / (m + 1)), m in [sqrt(1/2), sqrt(2)); -inf at 0, NaN below */
FC_INLINE vec vlog(vec x) {
  ivec tiny = x < SMALLEST_NORMAL;
  vec scaled = blend(tiny, x * (real)((int64_t)1 << MANTISSA_BITS), x);
  ivec bits = (ivec)scaled - (ivec)splat((real)SQRT_HALF);
  ivec n = bits >> MANTISSA_BITS;
  vec m = (vec)((ivec)scaled - (n << MANTISSA_BITS));
  vec whole = __builtin_convertvector(n - (tiny & MANTISSA_BITS), vec);
  vec z = (m - 1) / (m + 1), z2 = z * z, sum = {0};
  for (int k = LOG_TERMS - 1; k >= 1; k--) sum = sum * z2 + (real)2 / (2 * k + 1);
  vec y = whole * LN2_HIGH + (2 * z + (z * z2 * sum + whole * LN2_LOW));
  y = blend(x > 0, y, splat(NAN));
  y = blend(x == 0, splat(-INFINITY), y);
  return blend(x == INFINITY, x, y);
}

/* x**p for x >= 0 */
FC_INLINE vec vpow(vec x, real p) { return vexp(vlog(x) * p); }

FC_INLINE real real_sqrt(real v) { return (real)(FC_DOUBLE ? sqrt((double)v) : sqrtf((float)v)); }
FC_INLINE real real_log(real v) { return (real)(FC_DOUBLE ? log((double)v) : logf((float)v)); }

#endif
