/* Convolution by every algorithm and pass, and matrix products. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static double relu(double v) { return v > 0 ? v : 0; }
static double clip6(double v) { return v < 6 ? relu(v) : 6; }

/* v + bias[k], then the activation; bias and slope may be absent */
static double finished(const fc_epilogue *e, array bias, array slope, int64_t k, double v) {
  if (e->bias) v += get(bias, k);
  switch (e->kind) {
    case FC_RELU:
      return relu(v);
    case FC_RELU6:
      return clip6(v);
    case FC_LEAKY_RELU:
      return v < 0 ? v * e->parameter : v;
    case FC_PRELU:
      return v < 0 ? v * get(slope, k) : v;
    default:
      return v;
  }
}

static fc_epilogue random_epilogue(array bias, array slope) {
  static const fc_activation_kind kinds[] = {FC_LINEAR, FC_RELU, FC_RELU6, FC_LEAKY_RELU, FC_PRELU};
  return (fc_epilogue){draw(0, 1) ? bias.data : NULL, kinds[draw(0, 4)], 0.5, slope.data};
}

/* All three passes at once: y += x w, dx += dy w, dw += x dy. */
static void loops(const fc_conv2d *d, array x, array w, array dy, double *y, double *dx, double *dw) {
  int64_t Cg = d->C / d->G, Kg = d->K / d->G;
  for (int64_t o = 0; o < d->N * d->OH * d->OW; o++)
    for (int64_t t = 0; t < d->KH * d->KW; t++) {
      int64_t n = o / (d->OH * d->OW), h = o / d->OW % d->OH * d->SH - d->PT + t / d->KW * d->DH;
      int64_t v = o % d->OW * d->SW - d->PL + t % d->KW * d->DW;
      if (h < 0 || h >= d->H || v < 0 || v >= d->W) continue;
      for (int64_t c = 0; c < d->C; c++)
        for (int64_t j = 0; j < Kg; j++) {
          int64_t k = c / Cg * Kg + j, xi = ((n * d->H + h) * d->W + v) * d->x_pitch + c;
          int64_t yi = o * d->y_pitch + k, wi = (t * Cg + c % Cg) * d->K + k;
          y[yi] += get(x, xi) * get(w, wi);
          dx[xi] += get(dy, yi) * get(w, wi);
          dw[wi] += get(x, xi) * get(dy, yi);
        }
    }
}

enum { UNTOUCHED = 77 }; /* what outputs hold before, and between pixels after */

/* n pixels of `channels` zeros, pitch apart */
static double *pixels(int64_t n, int64_t channels, int64_t pitch) {
  double *a = malloc((size_t)(n * pitch + 1) * sizeof(double));
  if (!a) abort();
  for (int64_t i = 0; i < n * pitch; i++) a[i] = i % pitch < channels ? 0 : UNTOUCHED;
  return a;
}

static double *copy(const double *a, int64_t n) {
  double *b = malloc((size_t)(n + 1) * sizeof(double));
  if (!b) abort();
  return memcpy(b, a, (size_t)n * sizeof(double));
}

static void check_conv2d(fc_conv2d d) {
  int64_t in = d.N * d.H * d.W, out = d.N * d.OH * d.OW, filter = d.KH * d.KW * (d.C / d.G) * d.K;
  array x = integers(in * d.x_pitch), w = integers(filter), dy = integers(out * d.y_pitch), bias = integers(d.K);
  array slope = integers(d.K);
  double *y = pixels(out, d.K, d.y_pitch), *dx = pixels(in, d.C, d.x_pitch), *dw = pixels(1, filter, filter);
  double *db = pixels(1, d.K, d.K);
  loops(&d, x, w, dy, y, dx, dw);
  fc_epilogue e = random_epilogue(bias, slope);
  double largest_sum = 0, largest = 1e-3;
  for (int64_t i = 0; i < out; i++)
    for (int64_t k = 0; k < d.K; k++) {
      double *to = &y[i * d.y_pitch + k];
      largest_sum = fmax(largest_sum, fabs(*to));
      *to = finished(&e, bias, slope, k, *to);
      largest = fmax(largest, fabs(*to));
      db[k] += get(dy, i * d.y_pitch + k);
    }
  const char *name;
  for (int a = 0; (name = fc_conv2d_algorithm_name(a)); a++) {
    char what[3][300];
    static const char *pass[] = {"forward", "backward_data", "backward_weights"};
    for (int p = 0; p < 3; p++)
      snprintf(what[p], sizeof what[p], "conv2d %s %s N%d H%d W%d C%d K%d k%dx%d s%dx%d d%dx%d p%d,%d,%d,%d g%d e%d",
               name, pass[p], (int)d.N, (int)d.H, (int)d.W, (int)d.C, (int)d.K, (int)d.KH, (int)d.KW, (int)d.SH,
               (int)d.SW, (int)d.DH, (int)d.DW, (int)d.PT, (int)d.PB, (int)d.PL, (int)d.PR, (int)d.G, (int)e.kind);
    double allowed = strncmp(name, "winograd", 8) == 0 ? tolerance() : 0;
    double forward = allowed * largest_sum / largest; /* an activation that clips does not clip errors */
    if (!fc_conv2d_refusal(&d, FC_FORWARD, name)) {
      array got = constant(out * d.y_pitch, UNTOUCHED);
      expect_ok(what[0], fc_conv2d_forward(&d, dtype, name, x.data, w.data, NULL, &e, got.data));
      expect(what[0], got, copy(y, got.n), forward);
      int64_t prepared_size = fc_conv2d_prepared_size(&d, dtype, name);
      if (prepared_size) { /* weights that were transformed or packed before */
        array prepared = constant(prepared_size, UNTOUCHED), again = constant(out * d.y_pitch, UNTOUCHED);
        expect_ok(what[0], fc_conv2d_prepare(&d, dtype, name, w.data, prepared.data));
        expect_ok(what[0], fc_conv2d_forward(&d, dtype, name, x.data, w.data, prepared.data, &e, again.data));
        expect(what[0], again, copy(y, again.n), forward);
        expect(what[0], prepared, doubles(prepared), 0); /* its ends */
      }
    }
    if (!fc_conv2d_refusal(&d, FC_BACKWARD_DATA, name)) {
      array got = constant(in * d.x_pitch, UNTOUCHED);
      expect_ok(what[1], fc_conv2d_backward_data(&d, dtype, name, dy.data, w.data, got.data));
      expect(what[1], got, copy(dx, got.n), allowed);
    }
    if (!fc_conv2d_refusal(&d, FC_BACKWARD_WEIGHTS, name)) {
      array got = constant(filter, UNTOUCHED), got_bias = constant(d.K, UNTOUCHED);
      expect_ok(what[2], fc_conv2d_backward_weights(&d, dtype, name, x.data, dy.data, got.data, got_bias.data));
      expect(what[2], got, copy(dw, got.n), allowed);
      expect(what[2], got_bias, copy(db, d.K), 0);
    }
  }
  discard(x), discard(w), discard(dy), discard(bias), discard(slope);
  free(y), free(dx), free(dw), free(db);
}

/* A random geometry that fc_conv2d_check accepts; groups up to depthwise; pixels that lie apart. */
static fc_conv2d random_conv2d(void) {
  for (;;) {
    fc_conv2d d = {.N = draw(1, 3), .H = draw(1, 12), .W = draw(1, 12), .KH = draw(1, 5), .KW = draw(1, 5)};
    d.G = draw(0, 2) ? 1 : draw(2, 20);
    d.C = d.G * draw(1, d.G == 1 ? 40 : 6), d.K = d.G * draw(1, d.G == 1 ? 40 : 6);
    int dense = draw(0, 1);
    d.SH = dense ? 1 : draw(1, 4), d.SW = dense ? 1 : draw(1, 4);
    d.DH = dense ? 1 : draw(1, 3), d.DW = dense ? 1 : draw(1, 3);
    d.PT = draw(0, 5), d.PB = draw(0, 5), d.PL = draw(0, 5), d.PR = draw(0, 5);
    if (draw(0, 1)) d.x_pitch = d.C + draw(0, 9), d.y_pitch = d.K + draw(0, 9);
    if (fc_conv2d_check(&d) == FC_OK) return d;
  }
}

static void check_gemm(int64_t M, int64_t N, int64_t K) {
  char what[100];
  int a_turned = (int)draw(0, 1), b_turned = (int)draw(0, 1);
  fc_gemm g = {.M = M, .N = N, .K = K, .c_row = N + draw(0, 5), .accumulate = (int)draw(0, 1)};
  g.a_row = a_turned ? 1 : K, g.a_col = a_turned ? M : 1;
  g.b_row = b_turned ? 1 : N, g.b_col = b_turned ? K : 1;
  array a = integers(M * K), b = integers(K * N), bias = integers(N), slope = integers(N);
  array c = constant(M * g.c_row, UNTOUCHED);
  fc_epilogue e = random_epilogue(bias, slope);
  for (int64_t i = 0; i < M * N; i++) set(c, i / N * g.c_row + i % N, (double)draw(-4, 4));
  double *want = doubles(c);
  for (int64_t i = 0; i < M * N; i++) {
    double sum = g.accumulate ? want[i / N * g.c_row + i % N] : 0;
    for (int64_t k = 0; k < K; k++)
      sum += get(a, i / N * g.a_row + k * g.a_col) * get(b, k * g.b_row + i % N * g.b_col);
    want[i / N * g.c_row + i % N] = finished(&e, bias, slope, i % N, sum);
  }
  snprintf(what, sizeof what, "gemm %dx%dx%d transposed %d%d accumulate %d activation %d", (int)M, (int)N, (int)K,
           a_turned, b_turned, g.accumulate, (int)e.kind);
  expect_ok(what, fc_table(dtype)->gemm(&g, a.data, b.data, &e, c.data));
  expect(what, c, want, 0);
  discard(a), discard(b), discard(bias), discard(slope);
}

void check_products(void) {
  for (int i = 0; i < 150; i++) check_conv2d(random_conv2d());
  /* several blocks of pixels, of channels, of filters; the first layer of a network; wide enough for two threads */
  fc_conv2d large[] = {
      {.N = 2, .H = 31, .W = 29, .C = 17, .KH = 3, .KW = 3, .K = 40, .PT = 1, .PB = 1, .PL = 1, .PR = 1},
      {.N = 1,
       .H = 40,
       .W = 37,
       .C = 3,
       .KH = 7,
       .KW = 7,
       .K = 24,
       .SH = 2,
       .SW = 2,
       .PT = 3,
       .PB = 2,
       .PL = 2,
       .PR = 3},
      {.N = 4, .H = 9, .W = 10, .C = 70, .KH = 1, .KW = 1, .K = 90},
      {.N = 1, .H = 13, .W = 12, .C = 130, .KH = 3, .KW = 3, .K = 100, .PT = 1, .PB = 1, .PL = 1, .PR = 1},
      {.N = 2,
       .H = 28,
       .W = 27,
       .C = 33,
       .KH = 3,
       .KW = 3,
       .K = 33,
       .G = 33,
       .SH = 2,
       .PT = 1,
       .PB = 1,
       .PL = 1,
       .PR = 1},
      {.N = 0, .H = 5, .W = 6, .C = 3, .KH = 2, .KW = 2, .K = 5},
  };
  for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
    fc_conv2d d = large[i];
    if (!d.SH) d.SH = 1;
    if (!d.SW) d.SW = 1;
    d.DH = d.DW = 1;
    if (!d.G) d.G = 1;
    expect_ok("descriptor", fc_conv2d_check(&d));
    check_conv2d(d);
  }
  for (int i = 0; i < 80; i++) check_gemm(draw(1, 50), draw(1, 70), draw(0, 60));
  for (int i = 0; i < 4; i++) check_gemm(draw(60, 200), draw(60, 200), draw(380, 800));
  check_gemm(30, 2100, 20);
  check_gemm(40, 50, 1100);
}
