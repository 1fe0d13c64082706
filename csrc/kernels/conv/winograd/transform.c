/* Winograd's transforms, vectorised over channels. All follow from the points 0, +-p, +-q ..., infinity: a tile of n
 * values is a polynomial, `evaluate` takes it to its values at the points, `interpolate` is the adjoint of that, and
 * `reduce` is the adjoint of interpolation proper (Blahut, "Fast Algorithms for Signal Processing", chapter 5).
 * Opposite points share their even and odd halves. */
#include "winograd.h"

enum { POINTS_MAX = 8, FILTERS = 16 /* whose taps are fetched at a time */ };

/* +-5/7 and +-7/5 halve the rounding error of +-1 and +-2; their product is 1. */
FC_INLINE double point(const int points, const int pair) {
  static const double value[3][3] = {{1}, {5. / 7, 7. / 5}, {1, .5, 2}};
  return value[(points - 4) / 2][pair];
}

FC_INLINE int pairs_of(const int points) { return (points - 2) / 2; }

/* Coefficient of x^2k in the product of (x^2 - p^2) over all pairs but one (-1: over all). */
FC_INLINE double coefficient(const int points, const int without, const int k) {
  double c[4] = {1, 0, 0, 0};
  UNROLL(4)
  for (int pair = 0; pair < pairs_of(points); pair++) {
    double square = point(points, pair) * point(points, pair);
    if (pair == without) continue;
    c[3] = c[2] - square * c[3];
    c[2] = c[1] - square * c[2];
    c[1] = c[0] - square * c[1];
    c[0] = -square * c[0];
  }
  return c[k];
}

/* The filter's values at a point carry 1 / product of the differences to all other points; pair -1: the point 0. */
FC_INLINE double scale(const int points, const int pair) {
  if (pair < 0) return 1 / coefficient(points, -1, 0);
  double square = point(points, pair) * point(points, pair), product = 2 * square;
  UNROLL(4)
  for (int other = 0; other < pairs_of(points); other++)
    if (other != pair) product *= square - point(points, other) * point(points, other);
  return 1 / product;
}

/* p^k, or scale * p^k */
FC_INLINE double power(const int points, const int scaled, const int pair, const int k) {
  double value = scaled ? scale(points, pair) : 1;
  UNROLL(8)
  for (int i = 0; i < k; i++) value *= point(points, pair);
  return value;
}

/* points values -> points values: row p of B^T has the coefficients of the product of (x - q) over all q but p. */
FC_INLINE void reduce(const int points, const vec *in, int step, vec *out, int out_step) {
  const int pairs = pairs_of(points);
  vec zero = in[2 * pairs * step], infinity = in[(2 * pairs + 1) * step];
  UNROLL(4)
  for (int k = 0; k < pairs; k++) {
    vec c = splat((real)coefficient(points, -1, k));
    zero += c * in[2 * k * step];
    infinity += c * in[(2 * k + 1) * step];
  }
  out[0] = zero;
  out[(points - 1) * out_step] = infinity;
  UNROLL(4)
  for (int pair = 0; pair < pairs; pair++) {
    vec even = in[2 * pairs * step], odd = in[(2 * pairs - 1) * step];
    UNROLL(4)
    for (int k = 0; k < pairs - 1; k++) {
      vec c = splat((real)coefficient(points, pair, k));
      even += c * in[(2 * k + 2) * step];
      odd += c * in[(2 * k + 1) * step];
    }
    vec p = splat((real)point(points, pair));
    out[(1 + 2 * pair) * out_step] = even + p * odd;
    out[(2 + 2 * pair) * out_step] = even - p * odd;
  }
}

/* n values -> points values: sum over k of p^k in[k] */
FC_INLINE void evaluate(const int points, const int n, const int scaled, const vec *in, int step, vec *out,
                        int out_step) {
  out[0] = scaled ? splat((real)scale(points, -1)) * in[0] : in[0];
  out[(points - 1) * out_step] = in[(n - 1) * step];
  UNROLL(4)
  for (int pair = 0; pair < pairs_of(points); pair++) {
    vec even = splat((real)power(points, scaled, pair, 0)) * in[0];
    vec odd = splat((real)power(points, scaled, pair, 1)) * in[step];
    UNROLL(8)
    for (int k = 2; k < n; k++) {
      vec c = splat((real)power(points, scaled, pair, k));
      if (k % 2)
        odd += c * in[k * step];
      else
        even += c * in[k * step];
    }
    out[(1 + 2 * pair) * out_step] = even + odd;
    out[(2 + 2 * pair) * out_step] = even - odd;
  }
}

/* points values -> n values: the adjoint of evaluate */
FC_INLINE void interpolate(const int points, const int n, const int scaled, const vec *in, int step, vec *out,
                           int out_step) {
  vec sum[POINTS_MAX];
  sum[0] = scaled ? splat((real)scale(points, -1)) * in[0] : in[0];
  UNROLL(8)
  for (int k = 1; k < n; k++) sum[k] = (vec){0};
  UNROLL(4)
  for (int pair = 0; pair < pairs_of(points); pair++) {
    vec plus = in[(1 + 2 * pair) * step], minus = in[(2 + 2 * pair) * step];
    vec even = plus + minus, odd = plus - minus;
    UNROLL(8)
    for (int k = 0; k < n; k++) sum[k] += splat((real)power(points, scaled, pair, k)) * (k % 2 ? odd : even);
  }
  sum[n - 1] += in[(points - 1) * step];
  UNROLL(8)
  for (int k = 0; k < n; k++) out[k * out_step] = sum[k];
}

/* n x n pixels from (h, w) on, as pointers; outside of the image is zero. */
static FC_NOINLINE void point_pixels(const winograd *p, int64_t n, int64_t h, int64_t w, int size, const real *zero,
                                     const real **pixel) {
  const tap_image *x = &p->in;
  for (int i = 0; i < size; i++)
    for (int j = 0; j < size; j++) {
      int inside = h + i >= 0 && h + i < x->H && w + j >= 0 && w + j < x->W;
      *pixel++ = inside ? x->data + ((n * x->H + h + i) * x->W + w + j) * x->pitch : zero;
    }
}

/* size x size pixels of each tile -> values at points x points points; size is points (reduce) or m (evaluate). */
FC_INLINE void gather(const int points, const int size, const winograd *p, int64_t first, int64_t count,
                      const real *zero, const winograd_values *to) {
  const real *pixel[POINTS_MAX * POINTS_MAX];
  vec column[POINTS_MAX], half[POINTS_MAX * POINTS_MAX], row[POINTS_MAX];
  for (int64_t t = 0; t < count; t++) {
    int64_t tile = first + t, tx = tile % p->TW, ty = tile / p->TW % p->TH, n = tile / p->TW / p->TH;
    point_pixels(p, n, ty * p->m - p->top, tx * p->m - p->left, size, zero, pixel);
    for (int64_t c = 0; c < p->C; c += VL) {
      int64_t lanes = min_i64(p->C - c, VL);
      UNROLL(8)
      for (int j = 0; j < size; j++) {
        UNROLL(8)
        for (int i = 0; i < size; i++) column[i] = load_n(pixel[i * size + j] + c, lanes);
        if (size == points)
          reduce(points, column, 1, half + j, size);
        else
          evaluate(points, size, 0, column, 1, half + j, size);
      }
      real *at = to->data + t * to->pitch + c;
      UNROLL(8)
      for (int i = 0; i < points; i++) {
        if (size == points)
          reduce(points, half + i * size, 1, row, 1);
        else
          evaluate(points, size, 0, half + i * size, 1, row, 1);
        UNROLL(8)
        for (int j = 0; j < points; j++, at += to->plane) store(at, row[j]);
      }
    }
  }
}

/* Taps of filters c .. c + count, columns of a panel -> taps[tap * plane], (count, width * VL) each. w lies in strides
 * that are often powers of two, which would fall into few cache sets: so every tap is read alone, and kept elsewhere.
 */
static FC_NOINLINE void fetch_filters(const winograd *p, const real *w, int64_t c, int64_t count, int64_t start,
                                      int width, real *taps, int64_t plane) {
  int square = p->r * p->r;
  for (int t = 0; t < square; t++, taps += plane) {
    const real *tap = w + (p->flipped ? square - 1 - t : t) * p->C * p->K;
    for (int j = 0; j < width; j++) {
      int64_t column = start + j * VL, lanes = min_i64(p->K - column, VL);
      real *to = taps + j * VL;
      if (!p->flipped) { /* (C, K) */
        for (int64_t i = 0; i < count; i++) store(to + i * width * VL, load_n(tap + (c + i) * p->K + column, lanes));
        continue;
      }
      for (int64_t i = 0; i < count; i += VL) { /* (K, C) */
        int64_t rows = min_i64(count - i, VL);
        vec block[VL];
        for (int l = 0; l < VL; l++) block[l] = l < lanes ? load_n(tap + (column + l) * p->C + c + i, rows) : (vec){0};
        transpose(block);
        for (int64_t l = 0; l < rows; l++) store(to + (i + l) * width * VL, block[l]);
      }
    }
  }
}

/* Part i of what the next call of fetch_filters will read, into L2. */
FC_INLINE void prefetch_filters(const winograd *p, const int r, const real *w, int64_t c, int64_t start, int width,
                                int64_t i) {
  const real *at = w + (p->flipped ? (start + i) * p->C + c : (c + i / width) * p->K + start + i % width * VL);
  UNROLL(25)
  for (int t = 0; t < r * r; t++) __builtin_prefetch(at + t * p->C * p->K, 0, 2);
}

/* r x r taps of each filter -> values at points x points points */
FC_INLINE void filter(const int points, const int r, const winograd *p, const real *w, int64_t c, int64_t count,
                      int64_t start, int width, real *u, int64_t plane) {
  enum { PLANE = FILTERS * NV_MAX * VL + VL };
  real taps[r * r * PLANE] __attribute__((aligned(64)));
  vec column[POINTS_MAX], half[POINTS_MAX * POINTS_MAX], row[POINTS_MAX];
  for (int64_t first = 0; first < count; first += FILTERS) {
    int64_t filters = min_i64(count - first, FILTERS);
    fetch_filters(p, w, c + first, filters, start, width, taps, PLANE);
    for (int64_t i = 0; i < filters * width; i++, u += VL) {
      prefetch_filters(p, r, w, c + first + FILTERS, start, width, i);
      UNROLL(8)
      for (int kw = 0; kw < r; kw++) {
        UNROLL(8)
        for (int kh = 0; kh < r; kh++) column[kh] = load(taps + (kh * r + kw) * PLANE + i * VL);
        evaluate(points, r, 1, column, 1, half + kw, r);
      }
      real *to = u;
      UNROLL(8)
      for (int k = 0; k < points; k++) {
        evaluate(points, r, 1, half + k * r, 1, row, 1);
        UNROLL(8)
        for (int l = 0; l < points; l++, to += plane) store(to, row[l]);
      }
    }
  }
}

/* points x points values at `at`, a plane apart -> n x n */
FC_INLINE void interpolate_tile(const int points, const int n, const int scaled, const real *at, int64_t plane,
                                vec *tile) {
  vec half[POINTS_MAX * POINTS_MAX], row[POINTS_MAX];
  UNROLL(8)
  for (int i = 0; i < points; i++) {
    UNROLL(8)
    for (int j = 0; j < points; j++, at += plane) row[j] = load(at);
    interpolate(points, n, scaled, row, 1, half + i * n, 1);
  }
  UNROLL(8)
  for (int j = 0; j < n; j++) interpolate(points, n, scaled, half + j, n, tile + j, n);
}

FC_INLINE void output(const int points, const int m, const winograd *p, int64_t first, int64_t count,
                      const winograd_values *from, real *y, int64_t y_pitch) {
  vec tile[POINTS_MAX * POINTS_MAX];
  for (int64_t t = 0; t < count; t++) {
    int64_t index = first + t, tx = index % p->TW, ty = index / p->TW % p->TH, n = index / p->TW / p->TH;
    int rows = (int)min_i64(p->OH - ty * m, m), columns = (int)min_i64(p->OW - tx * m, m);
    real *to = y + ((n * p->OH + ty * m) * p->OW + tx * m) * y_pitch;
    for (int64_t k = 0; k < p->K; k += VL) {
      int64_t lanes = min_i64(p->K - k, VL);
      interpolate_tile(points, m, 0, from->data + t * from->pitch + k, from->plane, tile);
      for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
          vec v = tile_epilogue(tile[i * m + j], &p->output, k);
          put(to + (i * p->OW + j) * y_pitch + k, v, lanes, p->output.past);
        }
    }
  }
}

FC_INLINE void dw_row(const int points, const int r, const winograd *p, const real *values, int64_t plane, int64_t cols,
                      real *dw, int64_t dw_pitch) {
  vec tile[POINTS_MAX * POINTS_MAX];
  for (int64_t k = 0; k < cols; k += VL) {
    int64_t lanes = min_i64(cols - k, VL);
    interpolate_tile(points, r, 1, values + k, plane, tile);
    for (int i = 0; i < r * r; i++) store_n(dw + i * p->C * dw_pitch + k, tile[i], lanes);
  }
}

#define DEFINE(points, r)                                                                                         \
  static void input_##points##_##r(const winograd *p, int64_t first, int64_t count, const real *zero,             \
                                   const winograd_values *to) {                                                   \
    gather(points, points, p, first, count, zero, to);                                                            \
  }                                                                                                               \
  static void gradient_##points##_##r(const winograd *p, int64_t first, int64_t count, const real *zero,          \
                                      const winograd_values *to) {                                                \
    gather(points, points - r + 1, p, first, count, zero, to);                                                    \
  }                                                                                                               \
  static void filter_##points##_##r(const winograd *p, const real *w, int64_t c, int64_t count, int64_t start,    \
                                    int width, real *u, int64_t plane) {                                          \
    filter(points, r, p, w, c, count, start, width, u, plane);                                                    \
  }                                                                                                               \
  static void output_##points##_##r(const winograd *p, int64_t first, int64_t count, const winograd_values *from, \
                                    real *y, int64_t y_pitch) {                                                   \
    output(points, points - r + 1, p, first, count, from, y, y_pitch);                                            \
  }                                                                                                               \
  static void dw_##points##_##r(const winograd *p, const real *values, int64_t plane, int64_t cols, real *dw,     \
                                int64_t dw_pitch) {                                                               \
    dw_row(points, r, p, values, plane, cols, dw, dw_pitch);                                                      \
  }
#define VARIANTS(F) F(4, 3) F(6, 3) F(6, 4) F(6, 5) F(8, 3)
VARIANTS(DEFINE)

const winograd_transforms *FC(winograd_find)(int points, int r) {
#define ENTRY(points, r)                                                                                             \
  {points,           r, input_##points##_##r, gradient_##points##_##r, filter_##points##_##r, output_##points##_##r, \
   dw_##points##_##r},
  static const winograd_transforms all[] = {VARIANTS(ENTRY)};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i].points == points && all[i].r == r) return &all[i];
  return NULL;
}
