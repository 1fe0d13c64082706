/* Parts of a workspace: offsets in one block. */
#include "workspace.h"

#include <string.h>

#include "fastconv.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
enum { ALIGN = 64, GAP = 64 };
#else
enum { ALIGN = 64, GAP = 0 };
#endif

void fc_workspace_part(fc_workspace *s, void *pointer, int64_t count, size_t size) {
  size_t bytes, begin = (s->bytes + ALIGN - 1) / ALIGN * ALIGN, end;
  if (s->count) begin += GAP;
  if (s->count == WORKSPACE_PARTS || begin < s->bytes || __builtin_mul_overflow(count, size, &bytes) ||
      __builtin_add_overflow(begin, bytes, &end)) {
    s->too_large = 1;
    return;
  }
  s->part[s->count].pointer = pointer;
  s->part[s->count].begin = begin;
  s->part[s->count++].end = s->bytes = end;
}

int fc_workspace_take(fc_workspace *s) {
  s->block = s->too_large ? NULL : fc_alloc(s->bytes);
  if (!s->block) return 0;
  for (int i = 0; i < s->count; i++) {
    void *begin = (char *)s->block + s->part[i].begin;
    memcpy(s->part[i].pointer, &begin, sizeof begin); /* a pointer of any type */
#if defined(__SANITIZE_ADDRESS__)
    size_t next = i + 1 < s->count ? s->part[i + 1].begin : s->part[i].end;
    ASAN_POISON_MEMORY_REGION((char *)s->block + s->part[i].end, next - s->part[i].end);
#endif
  }
  return 1;
}

void fc_workspace_free(fc_workspace *s) {
  fc_free(s->block);
  s->block = NULL;
}
