/* When Winograd pays: both ways counted in vector multiply-adds. The weights of the terms were fitted to 44 layers of
 * real networks, timed on one core with AVX-512 (tests/test_conv2d_choice.py holds the choice against the clock). */
#include "winograd.h"

enum { POINTS = 6 };

/* What a vector of each costs, in multiply-adds. */
static const double DIRECT = .9, DIRECT_WEIGHTS = 1., PRODUCT = 1.25, PRODUCT_WEIGHTS = 1.4;
static const double TILE = 350;                                          /* transform a tile, input or output */
static const double FILTER = 550, FLIPPED_FILTER = 750, GRADIENT = 1600; /* a filter's: memory more than arithmetic */
static const double REARRANGE = 20; /* a vector of a run that space to depth copies */
static const double STORE = 25;     /* an output pixel of backward data, which few channels do not hide */

/* Multiply-adds of the direct pass over those of Winograd's; prepared: the filters are transformed already. */
double FC(winograd_gain)(const fc_conv2d *d, fc_pass pass, int prepared) {
  int strided = d->SH > 1 || d->SW > 1, data = pass == FC_BACKWARD_DATA;
  int64_t r = ceil_div(d->KH, d->SH), m = POINTS - r + 1, channels = d->SH * d->SW * d->C;
  int64_t depth = data ? d->K : channels, cols = data ? channels : d->K;
  /* the image that the tiles cover */
  int64_t H = !data ? d->OH : strided ? d->OH + r - 1 : d->H, W = !data ? d->OW : strided ? d->OW + r - 1 : d->W;
  double tiles = (double)d->N * (double)(ceil_div(H, m) * ceil_div(W, m));
  double depth_vectors = (double)ceil_div(depth, VL), col_vectors = (double)ceil_div(cols, VL);
  double filters = (double)depth * col_vectors;

  double pixels = (double)d->N * (double)(d->OH * d->OW), taps = (double)(d->KH * d->KW);
  double direct = pixels * taps * (data ? (double)d->K * (double)ceil_div(d->C, VL) : (double)d->C * col_vectors);
  direct *= pass == FC_BACKWARD_WEIGHTS ? DIRECT_WEIGHTS : DIRECT;
  if (data) direct += STORE * (double)d->N * (double)(d->H * d->W) * (double)ceil_div(d->C, VL);

  double product = pass == FC_BACKWARD_WEIGHTS ? PRODUCT_WEIGHTS : PRODUCT;
  double each = pass == FC_BACKWARD_WEIGHTS ? GRADIENT : data ? FLIPPED_FILTER : prepared ? 0 : FILTER;
  double ours = POINTS * POINTS * tiles * filters * product + tiles * (depth_vectors + col_vectors) * TILE;
  ours += filters * each;
  if (strided)
    ours += REARRANGE * (double)d->N * (double)((d->OH + r - 1) * (d->OW + r - 1) * d->SH * ceil_div(d->SW * d->C, VL));
  return direct / ours;
}
