/* The memory that one call works with: a driver names its parts, takes all of them as one block, and gives that back.
 *
 *     fc_workspace memory = {0};
 *     FC_PART(&memory, table, taps * pixels);           table |.......| packed |.................| zero |...|
 *     FC_PART(&memory, packed, threads * weights);      ^               ^                          ^
 *     FC_PART(&memory, zero, depth);                    every part begins where a line of the cache does
 *     if (!fc_workspace_take(&memory)) return FC_NO_MEMORY;
 *     ...
 *     fc_workspace_free(&memory);
 *
 * A part's pointer is set when the block is there. Under AddressSanitizer what lies between two parts may not be
 * touched, as what lies behind a block. */
#ifndef FC_WORKSPACE_H
#define FC_WORKSPACE_H

#include <stddef.h>
#include <stdint.h>

enum { WORKSPACE_PARTS = 8 };

typedef struct {
  void *block;
  size_t bytes;
  int count, too_large;
  struct {
    void *pointer; /* to the caller's pointer */
    size_t begin, end;
  } part[WORKSPACE_PARTS];
} fc_workspace;

/* count elements for the pointer variable `pointer`; it must live until fc_workspace_take. */
#define FC_PART(memory, pointer, count) fc_workspace_part(memory, &(pointer), count, sizeof *(pointer))

void fc_workspace_part(fc_workspace *s, void *pointer, int64_t count, size_t size);
int fc_workspace_take(fc_workspace *s);  /* 0: no memory, or a size that does not fit */
void fc_workspace_free(fc_workspace *s); /* also of one that took nothing */

#endif
