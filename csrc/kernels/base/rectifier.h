/* The cheap activations, FC_LINEAR among them: a few instructions on a vector that is in a register anyway. Their
 * gradient follows from the output y. */
#ifndef FC_RECTIFIER_H
#define FC_RECTIFIER_H

#include "simd.h"

FC_INLINE int rectifies(fc_activation_kind kind) { return kind <= FC_LEAKY_RELU; }

/* slope: of FC_LEAKY_RELU, the same in all lanes, or of FC_PRELU */
FC_INLINE vec rectify(fc_activation_kind kind, vec x, vec slope) {
  switch (kind) {
    case FC_RELU:
      return at_least(x, splat(0));
    case FC_RELU6:
      return at_most(at_least(x, splat(0)), splat(6));
    case FC_LEAKY_RELU:
    case FC_PRELU:
      return blend(x < 0, x * slope, x);
    default:
      return x;
  }
}
FC_INLINE vec rectify_gradient(fc_activation_kind kind, vec dy, vec y, vec slope) {
  switch (kind) {
    case FC_RELU:
      return blend(y <= 0, splat(0), dy);
    case FC_RELU6:
      return blend((y <= 0) | (y >= 6), splat(0), dy);
    case FC_LEAKY_RELU:
      return blend(y > 0, dy, dy * slope);
    default:
      return dy;
  }
}

/* Runs a statement in which `kind` is a constant, so that each kind has a loop of its own. */
#define WITH_KIND(constant, ...)                \
  {                                             \
    const fc_activation_kind kind = (constant); \
    __VA_ARGS__;                                \
    break;                                      \
  }
#define FOR_RECTIFIER(which, ...)           \
  switch (which) {                          \
    case FC_RELU:                           \
      WITH_KIND(FC_RELU, __VA_ARGS__)       \
    case FC_RELU6:                          \
      WITH_KIND(FC_RELU6, __VA_ARGS__)      \
    case FC_LEAKY_RELU:                     \
      WITH_KIND(FC_LEAKY_RELU, __VA_ARGS__) \
    default:                                \
      WITH_KIND(FC_LINEAR, __VA_ARGS__)     \
  }

#endif
