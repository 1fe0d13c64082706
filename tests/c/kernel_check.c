/* Checks the kernels of one instruction set against plain loops, without Python: for machines that only an emulator
 * has, and natively. usage: kernel_check [isa]; exits with 1 if anything differs, with 2 if the CPU lacks the set. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, GUARD_BYTE = 0xA5 }; /* before and behind each array */

fc_dtype dtype;
static uint64_t state = 88172645463325252u;
static int compared, failures;

int64_t draw(int64_t low, int64_t high) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* G. Marsaglia (2003): Xorshift RNGs */
  return low + (int64_t)((state >> 11) % (uint64_t)(high - low + 1));
}

static size_t size_of(int64_t n) { return (size_t)n * (dtype == FC_FLOAT64 ? sizeof(double) : sizeof(float)); }

double get(array a, int64_t i) { return dtype == FC_FLOAT64 ? ((double *)a.data)[i] : ((float *)a.data)[i]; }

void set(array a, int64_t i, double value) {
  if (dtype == FC_FLOAT64)
    ((double *)a.data)[i] = value;
  else
    ((float *)a.data)[i] = (float)value;
}

array constant(int64_t n, double value) {
  char *memory = malloc(size_of(n) + 2 * GUARD);
  if (!memory) abort();
  memset(memory, GUARD_BYTE, size_of(n) + 2 * GUARD);
  array a = {n, memory + GUARD};
  for (int64_t i = 0; i < n; i++) set(a, i, value);
  return a;
}

array integers(int64_t n) {
  array a = constant(n, 0);
  for (int64_t i = 0; i < n; i++) set(a, i, (double)draw(-4, 4));
  return a;
}

array normals(int64_t n) {
  array a = constant(n, 0);
  for (int64_t i = 0; i < n; i++) {
    double sum = 0;
    for (int j = 0; j < 12; j++) sum += (double)draw(0, 1 << 20) / (1 << 20);
    set(a, i, sum - 6);
  }
  return a;
}

double *doubles(array a) {
  double *copy = malloc((size_t)(a.n + 1) * sizeof(double));
  if (!copy) abort();
  for (int64_t i = 0; i < a.n; i++) copy[i] = get(a, i);
  return copy;
}

void discard(array a) { free((char *)a.data - GUARD); }

double tolerance(void) { return dtype == FC_FLOAT64 ? 1e-11 : 3e-5; }

static void fail(const char *what, const char *how) {
  failures++;
  printf("%s %s: %s: %s\n", fc_isa_name(), dtype == FC_FLOAT64 ? "float64" : "float32", what, how);
}

void expect_ok(const char *what, fc_status status) {
  char how[64];
  snprintf(how, sizeof how, "status %d", (int)status);
  if (status != FC_OK) fail(what, how);
}

void expect_true(const char *what, int holds) {
  compared++;
  if (!holds) fail(what, "does not hold");
}

void expect(const char *what, array got, double *want, double tolerance) {
  char how[160];
  double largest = 0;
  compared++;
  for (int64_t i = 0; i < got.n; i++)
    if (isfinite(want[i])) largest = fmax(largest, fabs(want[i]));
  for (int64_t i = 0; i < got.n; i++) {
    double g = get(got, i);
    if (g == want[i] || (isnan(g) && isnan(want[i])) || fabs(g - want[i]) <= tolerance * largest) continue;
    snprintf(how, sizeof how, "element %lld of %lld is %.9g, expected %.9g (largest %.3g)", (long long)i,
             (long long)got.n, g, want[i], largest);
    fail(what, how);
    break;
  }
  const unsigned char *before = (unsigned char *)got.data - GUARD, *behind = (unsigned char *)got.data + size_of(got.n);
  for (int i = 0; i < GUARD; i++)
    if (before[i] != GUARD_BYTE || behind[i] != GUARD_BYTE) {
      fail(what, "wrote outside its output");
      break;
    }
  discard(got);
  free(want);
}

int main(int argc, char **argv) {
  if (fc_isa_select(argc > 1 ? argv[1] : NULL)) {
    printf("there is no instruction set %s here\n", argv[1]);
    return 2;
  }
  fc_set_num_threads(2);
  for (int t = FC_FLOAT32; t <= FC_FLOAT64; t++) {
    dtype = (fc_dtype)t;
    check_products();
    check_elementwise();
  }
  check_workspace();
  size_t used, waiting;
  fc_pool_usage(&used, &waiting);
  if (used) fail("memory", "a kernel kept a block");
  printf("%s: %d results compared, %d wrong\n", fc_isa_name(), compared, failures);
  return failures ? 1 : 0;
}
