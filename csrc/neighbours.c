/* Beside a busy neighbour fewer threads are done sooner: a parallel region ends with its last thread, and that one
 * waits for a processor. The system counts for how long each thread could have run but was not let; from that follows
 * how many threads pay. Results do not depend on it, as they do not depend on the number of threads. */
#include "fastconv.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 256 };
static const double WINDOW = 0.02, FIRST_PAUSE = 0.05, LAST_PAUSE = 1.6; /* seconds */
static const double TOLERATED = 0.4; /* threads' worth of waiting; a quiet machine shows less than 0.1 */

/* What a thread that calls kernels knows of its team. */
typedef struct {
  double since;         /* the window began */
  double until, pause;  /* no more than `most` threads until then; how long that lasts */
  int most, counted;    /* counted: threads in the window */
  int64_t waited[MOST]; /* when the window began, in nanoseconds */
} team;

static __thread team current;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Nanoseconds that this thread has waited for a processor so far; 0 where the system (not Linux) does not tell. */
static int64_t waited(void) {
  char text[80] = "";
  long long ran, wait = 0;
  int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  return length > 0 && sscanf(text, "%lld %lld", &ran, &wait) == 2 ? wait : 0;
}

/* Nanoseconds that n threads have waited in the window, if there was one; the next one begins. */
static int64_t next_window(team *t, int n, double time) {
  int64_t total = 0;
  int known = t->counted == n;
#pragma omp parallel num_threads(n) reduction(+ : total)
  {
    int me = fc_thread_number();
    int64_t so_far = waited();
    if (known && so_far > t->waited[me]) total += so_far - t->waited[me];
    t->waited[me] = so_far;
  }
  t->counted = n;
  t->since = time;
  return total;
}

int fc_threads_that_pay(int n, int all) {
  team *t = &current;
  double time = now();
  if (time < t->until) return n < t->most ? n : t->most;
  if (n < all || n > MOST || time < t->since + WINDOW) return n;
  int known = t->counted == n; /* else there was no window yet */
  double elapsed = time - t->since, share = 1e-9 * (double)next_window(t, n, time) / elapsed;
  if (!known) return n;
  if (share < TOLERATED) {
    t->pause = 0;
    return n;
  }
  int late = (int)(share + 1 - TOLERATED);
  t->most = late < n ? n - late : 1;
  t->pause = t->pause == 0 ? FIRST_PAUSE : t->pause < LAST_PAUSE ? 2 * t->pause : t->pause; /* until the next try */
  t->until = time + t->pause;
  t->counted = 0; /* what is waited until then is of no interest */
  t->since = 0;
  return t->most;
}
