/* Grouped convolution vectorised over output channels, across groups: lane k of a vector reads the inputs of its own
 * group, which a permutation brings there. Depthwise convolution is the case in which lanes stay where they are. */
#ifndef FC_GROUP_LANES_H
#define FC_GROUP_LANES_H

#include "kernels/base/simd.h"

/* How a vector of inputs is brought to its lanes, from slow and general to fast. */
typedef enum {
  LANES_ANY,  /* one by one */
  LANES_PART, /* output k reads input k, and all of a pixel is less than a vector */
  LANES_TWO,  /* from two neighbouring vectors */
  LANES_ONE,  /* from one vector */
  LANES_EQUAL /* output k reads input k */
} lanes_mode;

/* Output k reads inputs (k / share) * depth + i, i < depth, of a pixel of `inputs` channels. Outputs are taken in
 * vectors, of which the last overlaps the one before where they do not come out even. */
typedef struct {
  int64_t inputs, outputs, depth, share;
  lanes_mode mode;
  int64_t vectors, count; /* of a pixel's outputs; lanes in use: VL, or all outputs if they are fewer */
  int64_t *first;         /* [vectors] the least input that a vector reads for i = 0 */
  ivec *index;            /* [vectors] how far above it each lane reads */
  fc_workspace memory;
} group_lanes;

FC_INLINE int64_t lanes_start(const group_lanes *g, int64_t vector) {
  return max_i64(0, min_i64(vector * VL, g->outputs - VL));
}

/* Chooses the mode and fills the tables, which lanes_free releases. */
FC_HIDDEN fc_status FC(lanes_init)(group_lanes *g, int64_t inputs, int64_t outputs, int64_t groups);
FC_INLINE void lanes_free(group_lanes *g) { fc_workspace_free(&g->memory); }

/* Where the i-th inputs of a vector of outputs are: a load at channel `base` and lanes of it. */
typedef struct {
  int64_t base;
  ivec index;
} lanes_source;

FC_INLINE lanes_source lanes_find(const lanes_mode mode, const group_lanes *g, int64_t vector, int64_t i) {
  lanes_source s;
  if (mode == LANES_EQUAL || mode == LANES_PART) {
    s.base = lanes_start(g, vector);
    return s;
  }
  int64_t first = g->first[vector] + i, loaded = mode == LANES_TWO ? 2 * VL : VL;
  s.base = mode == LANES_ANY ? first : min_i64(first, g->inputs - loaded); /* never past the pixel's end */
  s.index = g->index[vector] + (integer)(first - s.base);
  return s;
}

/* Lanes in use: for the compiler, a constant but in the slow modes. */
FC_INLINE int64_t lanes_used(const lanes_mode mode, const group_lanes *g) { return mode <= LANES_PART ? g->count : VL; }

/* n: lanes_used; x: the pixel's channel `base`. */
FC_INLINE vec lanes_load(const lanes_mode mode, const real *x, ivec index, int64_t n) {
  vec v = {0};
  switch (mode) {
    case LANES_EQUAL:
      return load(x);
    case LANES_PART:
      return load_part(x, n);
    case LANES_ONE:
      return permute(load(x), index);
    case LANES_TWO:
      return shuffle(load(x), load(x + VL), index);
    default:
      for (int64_t l = 0; l < n; l++) v[l] = x[index[l]];
      return v;
  }
}

#endif
