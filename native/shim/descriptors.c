#include "descriptors.h"

#include <stdlib.h>

#include "sys.h"

static void keep_run(struct kept* kept, int first, int count) {
  if (first < 0 || count <= 0 || kept->count == KEPT_MAX) return;
  kept->runs[kept->count].first = first;
  kept->runs[kept->count++].count = count;
}

void keep(struct kept* kept, int fd) { keep_run(kept, fd, 1); }

void keep_for_leave(struct kept* kept, const struct leave* leave) {
  if (!leave->on) return;
  keep(kept, leave->listener);
  keep(kept, leave->console);
  keep_run(kept, leave->first, leave->handed);
}

static int compare(const void* a, const void* b) { return *(const int*)a - *(const int*)b; }

static int close_run(unsigned from, unsigned to, struct failure* failure) {
  if (from > to || sys_close_range(from, to, 0) == 0) return 0;
  return failed(failure, "closing what is the host's", "close_range", "");
}

int close_others(struct kept* kept, struct failure* failure) {
  unsigned from = 3;
  // By their first member.
  qsort(kept->runs, kept->count, sizeof *kept->runs, compare);
  for (unsigned i = 0; i < kept->count; i++) {
    unsigned first = (unsigned)kept->runs[i].first, after = first + (unsigned)kept->runs[i].count;
    if (first > from && close_run(from, first - 1, failure) != 0) return -1;
    if (after > from) from = after;
  }
  return close_run(from, ~0u, failure);
}
