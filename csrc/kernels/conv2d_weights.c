/* Backward weights without a column matrix: dw[band] = sum over output pixels of x[pixel at band]^T dy[pixel], rank-1
 * updates whose operands NHWC already holds contiguously. A band is a tap, or a whole kernel row where that is one run.
 * x (N, H, W, C), dy (N, OH, OW, K), dw (KH, KW, C/G, K). */
#include "taps.h"

enum { BLOCK_BYTES = 512 << 10, TASKS = 16 };

typedef struct {
  const fc_conv2d *d;
  tap_image x, dy; /* of this group; dy padded to whole vectors */
  int64_t bands;   /* KH * KW taps of Cg rows, or KH kernel rows of KW * C */
  int64_t height;  /* rows of dw in a band */
  int64_t columns; /* kernel columns a band covers: 1 or KW */
  int64_t left;    /* columns that were added to the left of x */
  int64_t cols;    /* Kg */
  int64_t tiles;   /* row tiles of a band x panels */
  int64_t chunks, groups, block_rows;
} weights_plan;

static int64_t row_tiles(const weights_plan *p, int64_t panel) {
  return ceil_div(p->height, tile_height(panel_width(p->cols, panel)));
}

/* Output positions o of an axis whose input o * stride + offset lies in [0, size): [*low, *high). */
static void reach(int64_t size, int64_t outputs, int64_t stride, int64_t offset, int64_t *low, int64_t *high) {
  *low = offset >= 0 ? 0 : ceil_div(-offset, stride);
  *high = offset >= size ? 0 : min_i64(outputs, (size - 1 - offset) / stride + 1);
}

/* The runs of pixels of output rows first .. last (over all images) that a band meets. Returns how many. */
static int64_t find_segments(const weights_plan *p, int64_t band, int64_t first, int64_t last, tile_segment *s) {
  const fc_conv2d *d = p->d;
  int64_t kh = band * p->columns / d->KW, kw = band * p->columns % d->KW, count = 0, low, high;
  int64_t left = kw * d->DW - d->PL + p->left;
  reach(p->x.W - (p->columns - 1), d->OW, d->SW, left, &low, &high);
  for (int64_t row = first; row < last && low < high; row++) {
    int64_t h = row % d->OH * d->SH - d->PT + kh * d->DH;
    if (h < 0 || h >= d->H) continue;
    s[count].a = p->x.data + ((row / d->OH * d->H + h) * p->x.W + low * d->SW + left) * p->x.pitch;
    s[count].b = p->dy.data + (row * d->OW + low) * p->dy.pitch;
    s[count++].steps = high - low;
  }
  return count;
}

/* Tiles first .. last of every band, over output rows begin .. end, into dw (bands * height, K). */
static void run_tiles(const weights_plan *p, int64_t group, int64_t begin, int64_t end, const real *zeros,
                      tile_segment *s, real *dw) {
  int64_t all = p->bands * p->tiles, first = all * group / p->groups, last = all * (group + 1) / p->groups;
  int64_t panels = panel_count(p->cols);
  for (int64_t row = begin; row < end; row += p->block_rows) {
    int64_t stop = min_i64(end, row + p->block_rows), t = 0;
    for (int64_t band = 0; band < p->bands; band++) {
      if (t + p->tiles <= first || t >= last) {
        t += p->tiles;
        continue;
      }
      int64_t segments = find_segments(p, band, row, stop, s);
      for (int64_t panel = 0; panel < panels; panel++) {
        int width = panel_width(p->cols, panel);
        int64_t start = panel_start(panel), slices = row_tiles(p, panel);
        tile_output out = {.cols = min_i64(p->cols - start, (int64_t)width * VL), .accumulate = row > begin};
        out.bias = zeros;
        for (int64_t i = 0; i < slices; i++, t++) {
          if (t < first || t >= last) continue;
          int64_t top = p->height * i / slices, mr = p->height * (i + 1) / slices - top; /* even slices */
          FC(tile_outer)
          [width - 1][mr - 1](segments, s, top, p->d->SW *p->x.pitch, start, p->dy.pitch,
                              dw + (band *p->height + top) *p->d->K + start, p->d->K, &out);
        }
      }
    }
  }
}

static void plan_work(weights_plan *p) {
  const fc_conv2d *d = p->d;
  int64_t rows = d->N * d->OH, panels = panel_count(p->cols);
  p->tiles = 0;
  for (int64_t panel = 0; panel < panels; panel++) p->tiles += row_tiles(p, panel);
  /* Chunks of pixels where the data outweighs dw (each pays a copy of dw), groups of tiles where dw is large. */
  int64_t weights = p->bands * p->height * d->K, data = rows * (p->x.W * d->SH * p->x.pitch + d->OW * p->dy.pitch);
  p->chunks = min_i64(max_i64(1, data / (2 * weights)), min_i64(TASKS, rows));
  p->groups = min_i64(ceil_div(TASKS, p->chunks), p->bands * p->tiles);
  int64_t row_bytes = (p->x.W * d->SH * p->x.pitch + d->OW * p->dy.pitch) * (int64_t)sizeof(real);
  p->block_rows = max_i64(1, BLOCK_BYTES / row_bytes);
}

/* dw = sum of the chunks' partial results, in order; partial (chunks, rows, K), columns of this group only */
static void add_chunks(const weights_plan *p, const real *partial, real *dw) {
  int64_t rows = p->bands * p->height, K = p->d->K;
#pragma omp parallel for num_threads(fc_threads_for(p->chunks * rows * p->cols)) schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t chunk = 0; chunk < p->chunks; chunk++)
      for (int64_t k = 0; k < p->cols; k++) {
        real value = partial[(chunk * rows + r) * K + k];
        dw[r * K + k] = chunk ? dw[r * K + k] + value : value;
      }
}

static fc_status run_plan(const weights_plan *p, real *dw) {
  const fc_conv2d *d = p->d;
  int64_t rows = d->N * d->OH, size = p->bands * p->height * d->K, tasks = p->chunks * p->groups;
  int64_t threads = fc_threads_for_macs(rows * d->OW * p->bands * p->height * p->cols);
  real *partial = p->chunks > 1 ? fc_alloc((size_t)(p->chunks * size) * sizeof(real)) : dw;
  real *zeros = fc_alloc((size_t)(NV_MAX * VL) * sizeof(real));
  tile_segment *segments = fc_alloc((size_t)(threads * p->block_rows) * sizeof(tile_segment));
  fc_status status = partial && zeros && segments ? FC_OK : FC_NO_MEMORY;
  if (status == FC_OK) {
    memset(zeros, 0, (size_t)(NV_MAX * VL) * sizeof(real));
    int next = 0;
#pragma omp parallel num_threads(threads)
    {
      int mine;
#pragma omp atomic capture
      mine = next++;
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < tasks; task++) {
        int64_t chunk = task / p->groups;
        run_tiles(p, task % p->groups, rows * chunk / p->chunks, rows * (chunk + 1) / p->chunks, zeros,
                  segments + mine * p->block_rows, partial + (p->chunks > 1 ? chunk * size : 0));
      }
    }
    if (p->chunks > 1) add_chunks(p, partial, dw);
  }
  if (p->chunks > 1) fc_free(partial);
  fc_free(zeros);
  fc_free(segments);
  return status;
}

/* dy (rows, K) -> (rows, padded), so that a whole vector can be read at every column */
static real *pad_channels(const real *dy, int64_t rows, int64_t pitch, int64_t K, int64_t padded) {
  real *copy = fc_alloc((size_t)(rows * padded) * sizeof(real));
  if (!copy) return NULL;
#pragma omp parallel for num_threads(fc_threads_for(rows *padded)) schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < padded; k += VL)
      store(copy + r * padded + k, load_n(dy + r * pitch + k, min_i64(K - k, VL)));
  return copy;
}

static fc_status group_weights(const fc_conv2d *d, int64_t g, const real *x, const real *dy, real *dw) {
  int64_t Cg = d->C / d->G, Kg = d->K / d->G, pixels = d->N * d->OH * d->OW;
  int64_t right = max_i64(0, (d->OW - 1) * d->SW - d->PL + d->KW - d->W);
  weights_plan p = {.d = d, .cols = Kg, .bands = d->KH * d->KW, .height = Cg, .columns = 1};
  p.x = (tap_image){x + g * Cg, d->N, d->H, d->W, d->x_pitch};
  p.dy = (tap_image){dy + g * Kg, d->N, d->OH, d->OW, d->y_pitch};
  real *wide = NULL, *full = NULL;
  fc_status status = FC_OK;
  if (Kg % VL) {
    full = pad_channels(p.dy.data, pixels, d->y_pitch, Kg, padded_cols(Kg));
    if (!full) status = FC_NO_MEMORY;
    p.dy.data = full, p.dy.pitch = padded_cols(Kg);
  }
  int one_run = d->DW == 1 && d->G == 1 && d->x_pitch == d->C;
  if (status == FC_OK && one_run && ((d->PL == 0 && right == 0) || d->C <= 8)) { /* kernel rows as bands */
    if (d->PL || right) {
      wide = FC(pad_columns)(&p.x, d->C, d->PL, right);
      if (!wide) status = FC_NO_MEMORY;
      p.x.data = wide, p.x.W += d->PL + right, p.left = d->PL;
    }
    p.bands = d->KH, p.height = d->KW * d->C, p.columns = d->KW;
  }
  if (status == FC_OK) {
    plan_work(&p);
    status = run_plan(&p, dw + g * Kg);
  }
  fc_free(full);
  fc_free(wide);
  return status;
}

fc_status FC(conv2d_backward_weights_implicit_gemm)(const fc_conv2d *d, const void *x, const void *dy, void *dw) {
  if (d->N == 0) {
    memset(dw, 0, (size_t)(d->KH * d->KW * d->C / d->G * d->K) * sizeof(real));
    return FC_OK;
  }
  fc_status status = FC_OK;
  for (int64_t g = 0; g < d->G && status == FC_OK; g++) status = group_weights(d, g, x, dy, dw);
  return status;
}
