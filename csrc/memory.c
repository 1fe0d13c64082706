/* Aligned blocks that are reused: a training step asks for the same sizes again and again, and fresh pages from the
 * system cost more than the arithmetic done on them. Free blocks wait in one list per size class, and also serve
 * requests a little smaller. Those that waited longest go back to the system when blocks in use and waiting exceed
 * twice what was ever in use: a step wants other sizes on its way back than on its way forward, and networks were seen
 * to need up to 1.6 times. */
#include "fastconv.h"

#include <pthread.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <string.h>
#endif

enum { ALIGN = 64, CLASSES = 4 * 48, WIDER = 2, HUGE_PAGE = 2 << 20 };

typedef struct block {
  struct block *next, *previous; /* free blocks of this class, the last released first */
  struct block *newer, *older;   /* all free blocks by the time of their release */
  size_t size;                   /* usable bytes: the size of its class */
  int class_index;
} block;

_Static_assert(sizeof(block) <= ALIGN, "a block's header lies in the 64 bytes before its data");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *free_blocks[CLASSES], *newest, *oldest;
static size_t in_use, pooled, peak, fresh;

/* Four classes from one power of two to the next, so at most a quarter of a block is unused; half of one that was made
 * for something larger. */
static int size_class(size_t bytes, size_t *size) {
  size_t base = 256;
  int c = 0;
  while (base * 2 < bytes) base *= 2, c += 4;
  for (int quarter = 0; quarter <= 4; quarter++) {
    *size = base + base / 4 * (size_t)quarter;
    if (bytes <= *size) return c + quarter;
  }
  return -1;
}

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
__attribute__((constructor)) static void register_fork_handler(void) {
  pthread_atfork(before_fork, after_fork, after_fork);
}

static block *new_block(size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  size_t align = size >= HUGE_PAGE ? 4096 : ALIGN, total = (size + ALIGN + align - 1) / align * align;
  void *memory = NULL;
  if (posix_memalign(&memory, align, total)) return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (size >= HUGE_PAGE) (void)madvise(memory, total, MADV_HUGEPAGE);
#endif
  return memory;
}

/* Under AddressSanitizer only the bytes asked for may be touched, in a block that waits none. They start as NaN: a
 * kernel that reads what it has not written shows in its results. */
static void guard(block *b, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  char *data = (char *)b + ALIGN;
  ASAN_POISON_MEMORY_REGION(b + 1, (size_t)(data - (char *)(b + 1)) + b->size);
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  memset(data, 0xff, bytes);
#else
  (void)b, (void)bytes;
#endif
}

/* These with the lock held. */
static void add_to_pool(block *b) {
  block **first = &free_blocks[b->class_index];
  b->previous = b->newer = NULL;
  b->next = *first;
  b->older = newest;
  if (b->next) b->next->previous = b;
  if (b->older) b->older->newer = b;
  *first = newest = b;
  if (!oldest) oldest = b;
  pooled += b->size;
}

static void take_from_pool(block *b) {
  if (b->previous)
    b->previous->next = b->next;
  else
    free_blocks[b->class_index] = b->next;
  if (b->next) b->next->previous = b->previous;
  if (b->newer)
    b->newer->older = b->older;
  else
    newest = b->older;
  if (b->older)
    b->older->newer = b->newer;
  else
    oldest = b->newer;
  pooled -= b->size;
}

static void count(size_t size) {
  in_use += size;
  if (in_use > peak) peak = in_use;
}

/* A waiting block of class c, or up to WIDER classes larger. */
static block *find_free(int c) {
  block *b = NULL;
  pthread_mutex_lock(&lock);
  for (int k = c; !b && k <= c + WIDER && k < CLASSES; k++) b = free_blocks[k];
  if (b) {
    take_from_pool(b);
    count(b->size);
  }
  pthread_mutex_unlock(&lock);
  return b;
}

void *fc_alloc(size_t bytes) {
  size_t size;
  if (bytes > SIZE_MAX / 4) return NULL;
  int c = size_class(bytes, &size);
  if (c < 0 || c >= CLASSES) return NULL;
  block *b = find_free(c);
  if (!b) {
    b = new_block(size);
    if (!b) {
      fc_pool_trim();
      b = new_block(size);
    }
    if (!b) return NULL;
    b->size = size;
    b->class_index = c;
    pthread_mutex_lock(&lock);
    count(size);
    fresh += size;
    pthread_mutex_unlock(&lock);
  }
  guard(b, bytes);
  return (char *)b + ALIGN;
}

/* Blocks that waited longest leave the pool until it is small enough; returns them as a list. */
static block *shrink(size_t limit) {
  block *gone = NULL;
  while (oldest && in_use + pooled > limit) {
    block *b = oldest;
    take_from_pool(b);
    b->next = gone;
    gone = b;
  }
  return gone;
}

static void release(block *list) {
  while (list) {
    block *b = list;
    list = b->next;
    free(b);
  }
}

void fc_free(void *pointer) {
  if (!pointer) return;
  block *b = (block *)((char *)pointer - ALIGN);
  guard(b, 0);
  pthread_mutex_lock(&lock);
  in_use -= b->size;
  add_to_pool(b);
  block *gone = shrink(2 * peak);
  pthread_mutex_unlock(&lock);
  release(gone); /* outside the lock: the system may take its time */
}

void fc_pool_trim(void) {
  pthread_mutex_lock(&lock);
  block *gone = shrink(0);
  peak = in_use;
  pthread_mutex_unlock(&lock);
  release(gone);
#if defined(__GLIBC__)
  malloc_trim(0); /* what was freed in the middle of the heap stays there otherwise */
#endif
}

void fc_pool_usage(size_t *used, size_t *waiting) {
  pthread_mutex_lock(&lock);
  *used = in_use;
  *waiting = pooled;
  pthread_mutex_unlock(&lock);
}

size_t fc_pool_fresh(void) {
  pthread_mutex_lock(&lock);
  size_t bytes = fresh;
  pthread_mutex_unlock(&lock);
  return bytes;
}
