/* How many threads: one number for every kernel, and what a forked child must do about it. */
#include "fastconv.h"

#include <pthread.h>
#include <stdio.h>

static int threads = 1;
static int ran_several = 0; /* a parallel region with more than one thread has run in this process */
static int forked = 0;      /* ... or in the one that it was forked from */
static char source[64] = "default";

/* libgomp hangs in a child that asks for several threads after its parent ran several. */
static void in_child(void) {
  if (!ran_several) return;
  forked = 1;
  threads = 1;
  snprintf(source, sizeof source, "forked from a process that ran several threads");
}

__attribute__((constructor)) static void register_fork_handler(void) { pthread_atfork(NULL, NULL, in_child); }

int fc_num_threads(void) { return threads; }

int fc_set_num_threads(int n) {
  if (forked && n > 1) return 1;
  threads = n;
  return 0;
}

const char *fc_num_threads_source(void) { return source; }
void fc_set_num_threads_source(const char *text) { snprintf(source, sizeof source, "%s", text); }

int fc_has_openmp(void) {
#ifdef _OPENMP
  return 1;
#else
  return 0;
#endif
}

int fc_threads_for(int64_t work) {
  enum { WORTH = 50000 }; /* waking a thread costs about as much as this many operations */
  if (threads == 1 || work < 2 * WORTH) return 1;
  ran_several = 1;
  int64_t most = work / WORTH;
  return most < threads ? (int)most : threads;
}
