/* How many threads: one number for every kernel, whether the system has them, and what a fork must do about them. */
#include "fastconv.h"

#include <pthread.h>
#include <stdio.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static int threads = 1;
static int ran_several = 0; /* a parallel region with more than one thread has run in this process */
static int forked = 0;      /* ... or in the one that it was forked from, and OpenMP did not part with them */
static char source[64] = "default";
static __thread int started = 1; /* threads of the largest team that this thread may have */

/* libgomp hangs in a child that asks for threads which only its parent had: they belong to the thread that forks,
 * whichever library asked for them. Here it ends them; the next region starts new ones, in parent and child. */
static int parted = 0;
static void before_fork(void) {
#if defined(_OPENMP) && __GNUC__ >= 9
  parted = omp_pause_resource_all(omp_pause_soft) == 0;
#endif
}

static void in_child(void) {
  started = 1;
  if (parted || !ran_several) return;
  forked = 1;
  threads = 1;
  snprintf(source, sizeof source, "forked from a process that ran several threads");
}

__attribute__((constructor)) static void register_fork_handler(void) { pthread_atfork(before_fork, NULL, in_child); }

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

int fc_thread_number(void) {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

/* Threads that wait for one another here until `open` says that all have come. */
typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t opened;
  int open;
} gate;

static void *wait_at(void *argument) {
  gate *g = argument;
  pthread_mutex_lock(&g->lock);
  while (!g->open) pthread_cond_wait(&g->opened, &g->lock);
  pthread_mutex_unlock(&g->lock);
  return NULL;
}

/* How many of n threads, this one included, the system allows: for one too many libgomp would end the process. Where it
 * does not allow all of them it is half of the most, as others want threads, and all want memory. */
static int allowed(int n) {
  enum { MOST = 1024 };
  pthread_t thread[MOST];
  gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
  int count = 0;
  while (count < n - 1 && count < MOST && pthread_create(&thread[count], NULL, wait_at, &g) == 0) count++;
  pthread_mutex_lock(&g.lock);
  g.open = 1;
  pthread_cond_broadcast(&g.opened);
  pthread_mutex_unlock(&g.lock);
  for (int i = 0; i < count; i++) pthread_join(thread[i], NULL);
  return count < n - 1 ? count / 2 + 1 : n;
}

int fc_threads_for(int64_t work) {
  enum { WORTH = 50000 }; /* waking a thread costs about as much as this many operations */
  if (threads == 1 || work < 2 * WORTH) return 1;
  int64_t most = work / WORTH;
  int n = most < threads ? (int)most : threads;
  if (n > started) { /* once for a thread that calls kernels: libgomp keeps its team */
    n = allowed(n);
    started = n;
  }
  if (n == 1) return 1;
  ran_several = 1;
  return fc_threads_that_pay(n, threads);
}
