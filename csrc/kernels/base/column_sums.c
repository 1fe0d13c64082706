/* db[k] = sum of dy[:, k] over rows: the bias gradient. dy (rows, K), rows pitch apart. */
#include "simd.h"

enum { CHUNKS = 16, STRIP = 4 }; /* partial sums, fixed by the shape; vectors summed side by side */

/* to[0 .. lanes) = sum over rows of dy[r * pitch + 0 .. lanes), lanes <= STRIP * VL */
static void sum_strip(int64_t rows, int64_t pitch, int64_t lanes, const real *dy, real *to) {
  vec sum[STRIP] = {{0}};
  if (lanes == STRIP * VL) {
    for (int64_t r = 0; r < rows; r++)
      for (int j = 0; j < STRIP; j++) sum[j] += load(dy + r * pitch + j * VL);
    for (int j = 0; j < STRIP; j++) store(to + j * VL, sum[j]);
    return;
  }
  for (; lanes > 0; lanes -= VL, dy += VL, to += VL) {
    int64_t part = min_i64(lanes, VL);
    sum[0] = sum[1] = (vec){0};
    for (int64_t r = 0; r < rows; r += 2) {
      sum[0] += load_n(dy + r * pitch, part);
      if (r + 1 < rows) sum[1] += load_n(dy + (r + 1) * pitch, part);
    }
    store_n(to, sum[0] + sum[1], part);
  }
}

/* One partial sum a chunk, then the chunks in order, so that the thread count changes no bit. */
fc_status FC(column_sums)(int64_t rows, int64_t K, int64_t pitch, const void *dy_, void *db_) {
  const real *dy = dy_;
  real *db = db_, *partial = fc_alloc((size_t)(CHUNKS * K) * sizeof(real));
  if (!partial) return FC_NO_MEMORY;
#pragma omp parallel for num_threads(fc_threads_for(rows *K)) schedule(static)
  for (int64_t chunk = 0; chunk < CHUNKS; chunk++) {
    int64_t first = rows * chunk / CHUNKS, last = rows * (chunk + 1) / CHUNKS;
    for (int64_t k = 0; k < K; k += STRIP * VL)
      sum_strip(last - first, pitch, min_i64(K - k, STRIP * VL), dy + first * pitch + k, partial + chunk * K + k);
  }
  memset(db, 0, (size_t)K * sizeof(real));
  for (int64_t chunk = 0; chunk < CHUNKS; chunk++)
    for (int64_t k = 0; k < K; k++) db[k] += partial[chunk * K + k];
  fc_free(partial);
  return FC_OK;
}
