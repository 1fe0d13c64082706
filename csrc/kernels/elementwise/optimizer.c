/* One optimizer step over every parameter of a model: formulas as in fastconv/reference/optimizer.py. */
#include "kernels/base/vmath.h"

enum { BLOCK = 4096 };

/* All numbers of a step, in the parameters' dtype. */
typedef struct {
  real rate, momentum, rho, epsilon, beta_1, beta_2, alpha, decay, scale;
  int nesterov;
} numbers;

/* What decays towards 0, where gradients are 0, would end as a denormal number that rounding keeps for ever, and
 * arithmetic on those is a hundred times slower. NaN stays. */
FC_INLINE real decayed(real v) { return v < SMALLEST_NORMAL && v > -SMALLEST_NORMAL ? 0 : v; }

static void sgd(const numbers *h, int64_t n, const real *restrict g, real *restrict w) {
  for (int64_t i = 0; i < n; i++) w[i] = w[i] * (1 - h->decay) - h->rate * (g[i] * h->scale);
}

static void sgd_momentum(const numbers *h, int64_t n, const real *restrict g, real *restrict w, real *restrict v) {
  for (int64_t i = 0; i < n; i++) {
    real step = h->rate * (g[i] * h->scale);
    real moved = decayed(h->momentum * v[i] - step);
    v[i] = moved;
    w[i] = w[i] * (1 - h->decay) + (h->nesterov ? h->momentum * moved - step : moved);
  }
}

static void rmsprop(const numbers *h, int64_t n, const real *restrict grad, real *restrict w, real *restrict s,
                    real *restrict b) {
  for (int64_t i = 0; i < n; i++) {
    real g = grad[i] * h->scale;
    s[i] = decayed(h->rho * s[i] + (1 - h->rho) * (g * g));
    real step = h->rate * g / real_sqrt(s[i] + h->epsilon);
    if (b) step = b[i] = decayed(h->momentum * b[i] + step);
    w[i] = w[i] * (1 - h->decay) - step;
  }
}

static void adam(const numbers *h, int64_t n, const real *restrict grad, real *restrict w, real *restrict m,
                 real *restrict v) {
  for (int64_t i = 0; i < n; i++) {
    real g = grad[i] * h->scale;
    m[i] = decayed(m[i] + (1 - h->beta_1) * (g - m[i]));
    v[i] = decayed(v[i] + (1 - h->beta_2) * (g * g - v[i]));
    w[i] = w[i] * (1 - h->decay) - h->alpha * m[i] / (real_sqrt(v[i]) + h->epsilon);
  }
}

static void adagrad(const numbers *h, int64_t n, const real *restrict grad, real *restrict w, real *restrict a) {
  for (int64_t i = 0; i < n; i++) {
    real g = grad[i] * h->scale;
    a[i] += g * g;
    w[i] = w[i] * (1 - h->decay) - h->rate * g / real_sqrt(a[i] + h->epsilon);
  }
}

static void step(fc_optimizer_kind kind, const numbers *h, int64_t n, const real *g, real *w, real *s0, real *s1) {
  switch (kind) {
    case FC_SGD:
      if (s0)
        sgd_momentum(h, n, g, w, s0);
      else
        sgd(h, n, g, w);
      break;
    case FC_RMSPROP:
      rmsprop(h, n, g, w, s0, s1);
      break;
    case FC_ADAM:
      adam(h, n, g, w, s0, s1);
      break;
    case FC_ADAGRAD:
      adagrad(h, n, g, w, s0);
      break;
  }
}

/* segments: one per parameter; values and states are changed in place */
fc_status FC(optimizer_step)(const fc_optimizer *o, int64_t count, const fc_segment *segments) {
  double correction = sqrt(1 - pow(o->beta_2, o->step)) / (1 - pow(o->beta_1, o->step));
  numbers h = {(real)o->learning_rate,
               (real)o->momentum,
               (real)o->rho,
               (real)o->epsilon,
               (real)o->beta_1,
               (real)o->beta_2,
               (real)(o->kind == FC_ADAM ? o->learning_rate * correction : 0),
               (real)(o->weight_decay * o->learning_rate),
               (real)o->scale,
               o->nesterov};
  int64_t total = 0;
  for (int64_t s = 0; s < count; s++) total += segments[s].size;
#pragma omp parallel num_threads(fc_threads_for(2 * total))
  for (int64_t s = 0; s < count; s++) {
    const fc_segment *p = &segments[s];
    const real *grad = p->grad;
    real *value = p->value, *s0 = p->state[0], *s1 = p->state[1];
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < p->size; i += BLOCK)
      step(o->kind, &h, min_i64(BLOCK, p->size - i), grad + i, value + i, s0 ? s0 + i : NULL, s1 ? s1 + i : NULL);
  }
  return FC_OK;
}
