/* Softmax over the last axis, and softmax with cross-entropy: stable, as the largest logit is subtracted first. */
#include "activation.h"
#include "kernels/base/vmath.h"

/* halves on halves: the fewest steps one after another */
FC_INLINE real sum_lanes(vec v) {
  real lane[VL];
  store(lane, v);
  for (int half = VL / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lane[l] += lane[l + half];
  return lane[0];
}

static real max_row(int64_t K, const real *x) {
  vec best = splat(-INFINITY);
  int64_t k = 0;
  for (; k + VL <= K; k += VL) best = at_least(best, load(x + k));
  if (k < K) best = at_least(best, blend(lanes_below(K - k), load_part(x + k, K - k), best));
  real lane[VL];
  store(lane, best);
  for (int half = VL / 2; half > 0; half /= 2) /* a NaN may be lost here: it comes back with its exponential */
    for (int l = 0; l < half; l++) lane[l] = lane[l + half] > lane[l] ? lane[l + half] : lane[l];
  return lane[0];
}

/* x (K) -> y (K); y may be x. Where asked for: the maximum of x and log(sum(exp(x - maximum))). */
void FC(softmax_row)(int64_t K, const real *x, real *y, real *maximum, real *log_sum) {
  real top = max_row(K, x);
  vec sums = {0};
  int64_t k = 0;
  for (; k + VL <= K; k += VL) {
    vec e = vexp_bounded(load(x + k) - top);
    sums += e;
    store(y + k, e);
  }
  if (k < K) {
    vec e = vexp_bounded(load_part(x + k, K - k) - top);
    sums += blend(lanes_below(K - k), e, splat(0));
    store_part(y + k, e, K - k);
  }
  real sum = sum_lanes(sums);
  if (maximum) *maximum = top;
  if (log_sum) *log_sum = real_log(sum);
  real inverse = 1 / sum; /* the sum is at least 1 */
  for (k = 0; k + VL <= K; k += VL) store(y + k, load(y + k) * inverse);
  if (k < K) store_part(y + k, load_part(y + k, K - k) * inverse, K - k);
}

/* dx = y (dy - sum(dy y)); all (K) */
void FC(softmax_row_backward)(int64_t K, const real *dy, const real *y, real *dx) {
  vec sums = {0};
  int64_t k = 0;
  for (; k + VL <= K; k += VL) sums += load(dy + k) * load(y + k);
  if (k < K) sums += load_part(dy + k, K - k) * load_part(y + k, K - k);
  real dot = sum_lanes(sums);
  for (k = 0; k < K; k++) dx[k] = y[k] * (dy[k] - dot);
}

/* What row r is held against: t (K) = (1 - s) * target + s / K, from a label or from a row of targets. */
typedef struct {
  int64_t label; /* -1: a row */
  const real *row;
  real keep, share; /* 1 - s and s / K */
} target;

FC_INLINE target target_of(const fc_cross_entropy *t, int64_t r) {
  const real *rows = t->targets;
  return (target){t->labels ? t->labels[r] : -1, t->labels ? NULL : rows + r * t->K, (real)(1 - t->smoothing),
                  (real)(t->smoothing / (double)t->K)};
}

FC_INLINE real target_value(const target *t, int64_t k) {
  real value = t->row ? t->row[k] : (real)(k == t->label);
  return t->share == 0 && t->keep == 1 ? value : value * t->keep + t->share;
}

static int bad_labels(const fc_cross_entropy *t) {
  for (int64_t r = 0; t->labels && r < t->rows; r++)
    if (t->labels[r] < 0 || t->labels[r] >= t->K) return 1;
  return 0;
}

/* logits (rows, K), weights (rows) or NULL -> losses (rows), probabilities (rows, K) */
fc_status FC(cross_entropy)(const fc_cross_entropy *against, const void *logits_, const void *weights_, void *losses_,
                            void *probabilities_) {
  const real *logits = logits_, *weights = weights_;
  real *losses = losses_, *probabilities = probabilities_;
  const int64_t rows = against->rows, K = against->K;
  if (bad_labels(against)) return FC_BAD_INDEX;
#pragma omp parallel for num_threads(fc_threads_for(8 * rows * K)) schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const real *x = logits + r * K;
    real top, log_sum, loss = 0;
    FC(softmax_row)(K, x, probabilities + r * K, &top, &log_sum);
    target t = target_of(against, r);
    if (against->labels && against->smoothing == 0)
      loss = log_sum - (x[t.label] - top);
    else
      for (int64_t k = 0; k < K; k++) {
        real value = target_value(&t, k);
        if (value != 0) loss += value * (log_sum - (x[k] - top)); /* 0 * inf is no loss */
      }
    losses[r] = weights ? loss * weights[r] : loss;
  }
  return FC_OK;
}

/* dlogits (rows, K) = scale * (probabilities * sum(t) - t); scales (rows), or NULL: `scale` for all */
fc_status FC(cross_entropy_backward)(const fc_cross_entropy *against, const void *probabilities_, const void *scales_,
                                     double scale, void *dlogits_) {
  const real *probabilities = probabilities_, *scales = scales_;
  real *dlogits = dlogits_;
  const int64_t rows = against->rows, K = against->K;
  if (bad_labels(against)) return FC_BAD_INDEX;
#pragma omp parallel for num_threads(fc_threads_for(rows *K)) schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const real *p = probabilities + r * K;
    real *dx = dlogits + r * K, factor = scales ? scales[r] : (real)scale, total = 0;
    target t = target_of(against, r);
    if (t.row)
      for (int64_t k = 0; k < K; k++) total += target_value(&t, k);
    else
      total = t.keep + (real)against->smoothing;
    for (int64_t k = 0; k < K; k++) dx[k] = factor * (p[k] * total - target_value(&t, k));
  }
  return FC_OK;
}
