/* Depthwise and grouped convolution, forward and backward data, vectorised over the channels of all groups.
 * x (N, H, W, C), w (KH, KW, C/G, K), y and dy (N, OH, OW, K). */
#include "group_product.h"

static fc_status run(const fc_conv2d *d, int64_t inputs, int64_t outputs, group_product *p,
                     fc_status (*find_axes)(const fc_conv2d *, int64_t, group_axes *)) {
  group_lanes lanes;
  group_axes axes;
  fc_status status = FC(lanes_init)(&lanes, inputs, outputs, d->G);
  if (status != FC_OK) return status;
  status = find_axes(d, inputs / d->G * outputs, &axes);
  if (status == FC_OK) {
    p->lanes = &lanes, p->axes = &axes;
    status = FC(group_product_run)(p);
    group_axes_free(&axes);
  }
  lanes_free(&lanes);
  return status;
}

fc_status FC(conv2d_forward_grouped)(const fc_conv2d *d, const void *x, const void *w, const fc_epilogue *e, void *y) {
  group_product p = {.in = x, .w = w, .out = y, .N = d->N, .H = d->H, .W = d->W, .in_pitch = d->x_pitch};
  p.OH = d->OH, p.OW = d->OW, p.out_pitch = d->y_pitch, p.taps = d->KH * d->KW, p.epilogue = e;
  return run(d, d->C, d->K, &p, FC(group_axes_forward));
}

/* w (taps, Cg, K) -> (taps, Kg, C): what output j of a group means to its inputs */
static real *turned(const fc_conv2d *d, const real *w) {
  int64_t Cg = d->C / d->G, Kg = d->K / d->G, size = Cg * d->K;
  real *turned = fc_alloc((size_t)(d->KH * d->KW * size) * sizeof(real));
  if (!turned) return NULL;
  for (int64_t t = 0; t < d->KH * d->KW; t++)
    for (int64_t c = 0; c < d->C; c++)
      for (int64_t j = 0; j < Kg; j++) turned[t * size + j * d->C + c] = w[t * size + c % Cg * d->K + c / Cg * Kg + j];
  return turned;
}

fc_status FC(conv2d_backward_data_grouped)(const fc_conv2d *d, const void *dy, const void *w, void *dx) {
  static const fc_epilogue none = {.kind = FC_LINEAR};
  real *copy = d->C == d->G && d->K == d->G ? NULL : turned(d, w);
  if (!copy && d->C + d->K > 2 * d->G) return FC_NO_MEMORY;
  group_product p = {.in = dy, .w = copy ? copy : w, .out = dx, .N = d->N, .H = d->OH, .W = d->OW};
  p.in_pitch = d->y_pitch, p.OH = d->H, p.OW = d->W, p.out_pitch = d->x_pitch,
  p.taps = ceil_div(d->KH * d->KW, d->SH * d->SW), p.epilogue = &none;
  fc_status status = run(d, d->K, d->C, &p, FC(group_axes_backward));
  fc_free(copy);
  return status;
}
