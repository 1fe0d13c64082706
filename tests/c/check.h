/* Arrays of either dtype with guards around them, and their comparison with plain loops in double. */
#ifndef CHECK_H
#define CHECK_H

#include "../../csrc/fastconv.h"

/* What the checks that run now are for. */
extern fc_dtype dtype;

typedef struct {
  int64_t n;
  void *data;
} array;

int64_t draw(int64_t low, int64_t high); /* low ... high, both included */

array constant(int64_t n, double value);
array integers(int64_t n); /* -4 ... 4: sums of a few thousand products are exact in any order, even in float32 */
array normals(int64_t n);  /* near enough to normal */
double get(array a, int64_t i);
void set(array a, int64_t i, double value);
double *doubles(array a); /* a copy; free it */
void discard(array a);

/* Reports where got differs from want by more than the tolerance, relative to the largest |want|; NaN equals NaN. Also
 * reports a write outside of got. Frees both. */
void expect(const char *what, array got, double *want, double tolerance);
void expect_ok(const char *what, fc_status status);
void expect_true(const char *what, int holds);
/* float32's and float64's: of sums in another order; of functions. */
double tolerance(void);

void check_products(void);    /* check_products.c: convolution, gemm */
void check_elementwise(void); /* check_elementwise.c: the other kernels */
void check_workspace(void);   /* check_workspace.c: the memory of a call */

#endif
