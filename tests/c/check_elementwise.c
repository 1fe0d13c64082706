/* Pooling, normalisation, activations, losses, optimizers, layouts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#define K (fc_table(dtype))

static double *zeros(int64_t n) {
  double *a = calloc((size_t)(n + 1), sizeof(double));
  if (!a) abort();
  return a;
}

static fc_pool2d random_pool2d(void) {
  fc_pool2d d = {
      .N = draw(1, 3), .H = draw(5, 14), .W = draw(5, 14), .C = draw(1, 40), .PH = draw(1, 5), .PW = draw(1, 5)};
  d.SH = draw(1, 4), d.SW = draw(1, 4);
  d.PT = draw(0, d.PH / 2), d.PB = draw(0, d.PH / 2), d.PL = draw(0, d.PW / 2), d.PR = draw(0, d.PW / 2);
  d.OH = (d.H + d.PT + d.PB - d.PH) / d.SH + 1, d.OW = (d.W + d.PL + d.PR - d.PW) / d.SW + 1;
  return d;
}

/* Every window: the first largest value, the sum, and both gradients. */
static void pool_loops(const fc_pool2d *d, int include_pad, array x, array dy, double *top, int32_t *first,
                       double *mean, double *dx_max, double *dx_mean) {
  for (int64_t i = 0; i < d->N * d->OH * d->OW * d->C; i++) {
    int64_t c = i % d->C, ow = i / d->C % d->OW, oh = i / d->C / d->OW % d->OH, n = i / d->C / d->OW / d->OH, count = 0;
    double sum = 0;
    int64_t inside[25], size = 0, best = -1;
    for (int64_t h = oh * d->SH - d->PT; h < oh * d->SH - d->PT + d->PH; h++)
      for (int64_t w = ow * d->SW - d->PL; w < ow * d->SW - d->PL + d->PW; w++) {
        if (h < 0 || h >= d->H || w < 0 || w >= d->W) {
          count += include_pad;
          continue;
        }
        int64_t at = n * d->H * d->W + h * d->W + w;
        inside[size++] = at, count++;
        sum += get(x, at * d->C + c);
        if (best < 0 || get(x, at * d->C + c) > get(x, best * d->C + c)) best = at;
      }
    top[i] = get(x, best * d->C + c), first[i] = (int32_t)(best - n * d->H * d->W), mean[i] = sum / (double)count;
    dx_max[best * d->C + c] += get(dy, i);
    for (int64_t j = 0; j < size; j++) dx_mean[inside[j] * d->C + c] += get(dy, i) / (double)count;
  }
}

static void check_pooling(void) {
  fc_pool2d d = random_pool2d();
  int include_pad = (int)draw(0, 1);
  int64_t in = d.N * d.H * d.W * d.C, out = d.N * d.OH * d.OW * d.C;
  char what[120];
  snprintf(what, sizeof what, "pool2d H%d W%d C%d pool %dx%d strides %dx%d padding %d,%d", (int)d.H, (int)d.W, (int)d.C,
           (int)d.PH, (int)d.PW, (int)d.SH, (int)d.SW, (int)d.PT, (int)d.PL);
  array x = integers(in), dy = integers(out), y = constant(out, 77), mean = constant(out, 77);
  array dx = constant(in, 77), dx_mean = constant(in, 77);
  double *want[] = {zeros(out), zeros(out), zeros(in), zeros(in)};
  int32_t *first = (int32_t *)zeros(out), *argmax = (int32_t *)zeros(out);
  pool_loops(&d, include_pad, x, dy, want[0], first, want[1], want[2], want[3]);
  expect_ok(what, K->max_pool2d(&d, x.data, y.data, argmax));
  expect_ok(what, K->max_pool2d_backward(d.N, d.OH * d.OW, d.H * d.W, d.C, dy.data, argmax, dx.data));
  expect_ok(what, K->avg_pool2d(&d, include_pad, x.data, mean.data));
  expect_ok(what, K->avg_pool2d_backward(&d, include_pad, dy.data, dx_mean.data));
  array indices = constant(out, 0);
  double *want_indices = zeros(out);
  for (int64_t i = 0; i < out; i++) set(indices, i, argmax[i]), want_indices[i] = first[i];
  expect(what, y, want[0], 0), expect(what, indices, want_indices, 0), expect(what, dx, want[2], 0);
  expect(what, mean, want[1], tolerance()), expect(what, dx_mean, want[3], tolerance());
  discard(x), discard(dy), free(first), free(argmax);
}

static double activated(fc_activation_kind kind, double a, double v) {
  switch (kind) {
    case FC_RELU:
      return v < 0 ? 0 : v;
    case FC_RELU6:
      return v < 0 ? 0 : v > 6 ? 6 : v;
    case FC_LEAKY_RELU:
      return v > 0 ? v : v * a;
    case FC_ELU:
      return v > 0 ? v : a * expm1(v);
    case FC_SIGMOID:
      return 1 / (1 + exp(-v));
    case FC_TANH:
      return tanh(v);
    default:
      return v;
  }
}

/* Of numbers of every size, with NaN, infinities and zeros among them. */
static void check_activations(void) {
  static const double special[] = {NAN, INFINITY, -INFINITY, 0, -0.0, 1e-30, -1e-30, 80, -80, 300, -300};
  int64_t rows = draw(1, 9), C = draw(1, 70), n = rows * C;
  for (int kind = FC_LINEAR; kind <= FC_TANH; kind++) {
    fc_epilogue e = {NULL, (fc_activation_kind)kind, 0.25, NULL};
    array x = normals(n), y = constant(n, 77), dy = normals(n), dx = constant(n, 77);
    double *want = zeros(n), *want_dx = zeros(n);
    for (int64_t i = 0; i < n; i++) {
      if (draw(0, 5) == 0) set(x, i, special[draw(0, 10)]);
      want[i] = activated(e.kind, e.parameter, get(x, i));
    }
    expect_ok("activate", K->activate(rows, C, &e, x.data, y.data));
    array outputs = constant(n, 0); /* finite ones, away from kinks */
    for (int64_t i = 0; i < n; i++) {
      double v = (double)draw(1, 40) / 41, slope = 1; /* in (0, 1), as sigmoid's */
      set(outputs, i, v);
      if (kind == FC_SIGMOID) slope = get(outputs, i) * (1 - get(outputs, i));
      if (kind == FC_TANH) slope = 1 - get(outputs, i) * get(outputs, i);
      want_dx[i] = get(dy, i) * slope;
    }
    expect_ok("activation_backward", K->activation_backward(rows, C, &e, dy.data, outputs.data, dx.data));
    char what[40];
    snprintf(what, sizeof what, "activation %d", kind);
    expect(what, y, want, tolerance()), expect(what, dx, want_dx, tolerance());
    discard(x), discard(dy), discard(outputs);
  }
}

static void check_cross_entropy(void) {
  int64_t rows = draw(1, 20), C = draw(1, 50), labels[20];
  array logits = normals(rows * C), losses = constant(rows, 77), probabilities = constant(rows * C, 77);
  array dlogits = constant(rows * C, 77);
  double *loss = zeros(rows), *p = zeros(rows * C), *dx = zeros(rows * C);
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0;
    labels[r] = draw(0, C - 1);
    for (int64_t k = 0; k < C; k++) sum += exp(get(logits, r * C + k));
    for (int64_t k = 0; k < C; k++) p[r * C + k] = exp(get(logits, r * C + k)) / sum;
    loss[r] = -log(p[r * C + labels[r]]);
    for (int64_t k = 0; k < C; k++) dx[r * C + k] = 0.5 * (p[r * C + k] - (k == labels[r]));
  }
  fc_cross_entropy t = {rows, C, labels, NULL, 0};
  expect_ok("cross_entropy", K->cross_entropy(&t, logits.data, NULL, losses.data, probabilities.data));
  expect_ok("cross_entropy_backward", K->cross_entropy_backward(&t, probabilities.data, NULL, 0.5, dlogits.data));
  expect("cross_entropy", losses, loss, tolerance()), expect("softmax", probabilities, p, tolerance());
  expect("cross_entropy_backward", dlogits, dx, tolerance());
  discard(logits);
}

/* In training, with relu at the end, forward and backward. */
static void check_batch_norm(int64_t rows, int64_t C) {
  const double epsilon = 1e-3;
  int64_t n = rows * C;
  array x = normals(n), dy = normals(n), gamma = normals(C), beta = normals(C), mean = constant(C, 77);
  array variance = constant(C, 77), y = constant(n, 77), dx = constant(n, 77), dgamma = constant(C, 77);
  array dbeta = constant(C, 77);
  double *m = zeros(C), *v = zeros(C), *out = zeros(n), *in = zeros(n), *dg = zeros(C), *db = zeros(C);
  for (int64_t i = 0; i < n; i++) m[i % C] += get(x, i) / (double)rows;
  for (int64_t i = 0; i < n; i++) v[i % C] += (get(x, i) - m[i % C]) * (get(x, i) - m[i % C]) / (double)rows;
  for (int64_t i = 0; i < n; i++) {
    double normalised = (get(x, i) - m[i % C]) / sqrt(v[i % C] + epsilon);
    out[i] = fmax(normalised * get(gamma, i % C) + get(beta, i % C), 0);
    if (out[i] < 1e-3) set(dy, i, 0); /* the kernel has to do so below 0; near the kink either side is right */
    dg[i % C] += get(dy, i) * normalised, db[i % C] += get(dy, i);
  }
  for (int64_t i = 0; i < n; i++) {
    double inverse = 1 / sqrt(v[i % C] + epsilon), normalised = (get(x, i) - m[i % C]) * inverse;
    in[i] = get(gamma, i % C) * inverse * (get(dy, i) - (db[i % C] + normalised * dg[i % C]) / (double)rows);
    if (out[i] == 0) set(dy, i, 5);
  }
  fc_batch_norm b = {rows, C, C, x.data, gamma.data, beta.data, epsilon, {NULL, FC_RELU, 0, NULL}};
  expect_ok("batch_norm", K->batch_norm(&b, mean.data, variance.data, y.data));
  expect_ok("batch_norm_backward",
            K->batch_norm_backward(&b, 1, dy.data, mean.data, variance.data, dx.data, dgamma.data, dbeta.data));
  expect("batch_norm", y, out, tolerance()), expect("batch_norm dx", dx, in, 2 * tolerance());
  expect("batch_norm dgamma", dgamma, dg, tolerance()), expect("batch_norm dbeta", dbeta, db, tolerance());
  expect("batch_norm variance", variance, v, tolerance()), expect("batch_norm mean", mean, m, tolerance());
  discard(x), discard(dy), discard(gamma), discard(beta);
}

static void check_lrn(void) {
  int64_t rows = draw(1, 9), C = draw(1, 50);
  fc_lrn d = {draw(0, 5), 2, 0.1, 0.75};
  array x = normals(rows * C), y = constant(rows * C, 77);
  double *want = zeros(rows * C);
  for (int64_t i = 0; i < rows * C; i++) {
    double sum = 0;
    for (int64_t k = i % C - d.radius; k <= i % C + d.radius; k++)
      if (k >= 0 && k < C) sum += get(x, i - i % C + k) * get(x, i - i % C + k);
    want[i] = get(x, i) * pow(d.bias + d.alpha * sum, -d.beta);
  }
  expect_ok("lrn", K->lrn(rows, C, &d, x.data, y.data));
  expect("lrn", y, want, tolerance());
  discard(x);
}

static void check_layouts(void) {
  int64_t batch = draw(1, 3), rows = draw(1, 70), cols = draw(1, 70), n = batch * rows * cols;
  fc_transpose t = {batch, rows, cols, rows * cols, rows * cols, cols, rows};
  array x = integers(n), y = constant(n, 77);
  double *want = zeros(n);
  for (int64_t i = 0; i < n; i++) want[i / (rows * cols) * rows * cols + i % cols * rows + i / cols % rows] = get(x, i);
  expect_ok("transpose", K->transpose(&t, x.data, y.data));
  expect("transpose", y, want, 0);
  discard(x);
  fc_upsample u = {batch, draw(1, 6), draw(1, 6), draw(1, 40), draw(1, 3), draw(1, 3)};
  int64_t OH = u.H * u.FH, OW = u.W * u.FW;
  x = integers(u.N * u.H * u.W * u.C), y = constant(u.N * OH * OW * u.C, 77), want = zeros(y.n);
  for (int64_t i = 0; i < y.n; i++) {
    int64_t p = i / u.C, h = p / OW % OH / u.FH, w = p % OW / u.FW;
    want[i] = get(x, ((p / OW / OH * u.H + h) * u.W + w) * u.C + i % u.C);
  }
  expect_ok("upsample", K->upsample_nearest(&u, x.data, y.data));
  expect("upsample", y, want, 0);
  discard(x);
}

static void check_optimizer(void) {
  int64_t n = draw(1, 100);
  fc_optimizer adam = {.kind = FC_ADAM, .learning_rate = 0.01, .epsilon = 1e-7, .beta_1 = 0.9, .beta_2 = 0.99};
  adam.step = 3, adam.scale = 1;
  array w = normals(n), g = normals(n), m = normals(n), v = constant(n, 0.5);
  double *want = zeros(n);
  for (int64_t i = 0; i < n; i++) {
    double first = 0.9 * get(m, i) + 0.1 * get(g, i), second = 0.99 * get(v, i) + 0.01 * get(g, i) * get(g, i);
    want[i] = get(w, i) - 0.01 * sqrt(1 - pow(0.99, 3)) / (1 - pow(0.9, 3)) * first / (sqrt(second) + 1e-7);
  }
  fc_segment s = {w.data, g.data, {m.data, v.data}, n};
  expect_ok("adam", K->optimizer_step(&adam, 1, &s));
  expect("adam", w, want, tolerance());
  discard(g), discard(m), discard(v);
}

void check_elementwise(void) {
  for (int i = 0; i < 40; i++) check_pooling();
  for (int i = 0; i < 10; i++) check_activations();
  for (int i = 0; i < 20; i++) check_cross_entropy();
  for (int i = 0; i < 20; i++) check_batch_norm(draw(2, 40), draw(1, 70));
  check_batch_norm(3000, 24), check_batch_norm(700, 300);
  for (int i = 0; i < 20; i++) check_lrn();
  for (int i = 0; i < 20; i++) check_layouts();
  for (int i = 0; i < 5; i++) check_optimizer();
}
