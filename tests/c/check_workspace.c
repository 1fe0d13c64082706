/* The workspace of a call: parts that begin at cache lines, lie one behind the other, and are refused when too large.
 */
#include "check.h"

#include "../../csrc/workspace.h"

void check_workspace(void) {
  enum { LINE_BYTES = 64 };
  fc_workspace memory = {0};
  float *a, *c;
  double *b;
  FC_PART(&memory, a, 17);
  FC_PART(&memory, b, 3);
  FC_PART(&memory, c, 0);
  expect_true("workspace: taken", fc_workspace_take(&memory));
  expect_true("workspace: parts begin at cache lines",
              (uintptr_t)a % LINE_BYTES == 0 && (uintptr_t)b % LINE_BYTES == 0 && (uintptr_t)c % LINE_BYTES == 0);
  expect_true("workspace: no part reaches into the next",
              (char *)(a + 17) <= (char *)b && (char *)(b + 3) <= (char *)c);
  fc_workspace_free(&memory);

  fc_workspace product = {0}, sum = {0}, negative = {0}, parts = {0};
  FC_PART(&product, b, INT64_MAX / 4 + 2); /* times 8 it is 2^64 + 8 */
  expect_true("workspace: a product beyond 64 bits", !fc_workspace_take(&product));
  FC_PART(&sum, a, INT64_MAX / 2);
  FC_PART(&sum, a, INT64_MAX / 2);
  FC_PART(&sum, a, INT64_MAX / 2);
  expect_true("workspace: a sum beyond 64 bits", !fc_workspace_take(&sum));
  FC_PART(&negative, a, -1);
  expect_true("workspace: less than nothing", !fc_workspace_take(&negative));
  for (int i = 0; i < WORKSPACE_PARTS + 1; i++) FC_PART(&parts, a, 1);
  expect_true("workspace: more parts than it has room for", !fc_workspace_take(&parts));
  fc_workspace_free(&parts);
}
