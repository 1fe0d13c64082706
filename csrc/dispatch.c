/* Which instruction sets this CPU and operating system allow, and the table of kernels in use. */
#include <string.h>

#include "fastconv.h"

typedef struct {
  const char *name;
  const fc_kernels *table[2]; /* by fc_dtype */
  int (*usable)(void);
} isa_entry;

static int always(void) { return 1; }

#define DECLARE(isa) extern const fc_kernels fc_table_##isa##_f32, fc_table_##isa##_f64;
#define ENTRY(isa, usable) {#isa, {&fc_table_##isa##_f32, &fc_table_##isa##_f64}, usable}

#if defined(__x86_64__)
/* libgcc's and compiler-rt's check reads cpuid and, through xgetbv, whether the system saves the registers. */
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
DECLARE(baseline)
DECLARE(avx2)
DECLARE(avx512)
static const isa_entry isas[] = {ENTRY(baseline, always), ENTRY(avx2, has_avx2), ENTRY(avx512, has_avx512)};
#elif defined(__aarch64__)
DECLARE(neon)
static const isa_entry isas[] = {ENTRY(neon, always)};
#else
DECLARE(baseline)
static const isa_entry isas[] = {ENTRY(baseline, always)};
#endif

enum { ISAS = sizeof isas / sizeof *isas };
static const isa_entry *current = &isas[0];

const char *fc_isa_built(int i) { return i >= 0 && i < ISAS ? isas[i].name : NULL; }
int fc_isa_usable(int i) { return i >= 0 && i < ISAS && isas[i].usable(); }
const char *fc_isa_name(void) { return current->name; }
const fc_kernels *fc_table(fc_dtype t) { return current->table[t]; }

int fc_isa_select(const char *name) {
  for (int i = ISAS - 1; i >= 0; i--) { /* the last is the best */
    if (name && strcmp(name, isas[i].name) != 0) continue;
    if (isas[i].usable()) {
      current = &isas[i];
      return 0;
    }
    if (name) return 2;
  }
  return 1;
}

const char *fc_compiler(void) {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}
