// What the two halves of bare-bound share: one container by the kernel alone (container.c), and many runs of it or of any
// program (main.c).
#pragma once

#include <linux/filter.h>
#include <stdint.h>

#define FILTER_MAX 4096

struct filter {
  struct sock_filter code[FILTER_MAX];
  struct sock_fprog program;  // of length 0: none
};

/** All that one run is made of. */
struct container {
  const char* layer;
  /** Of this run alone: made by it, left behind. */
  const char* scratch;
  /** Of this run alone, below the root of every v1 hierarchy; "-": none. */
  const char* cgroup;
  /** The first of the 65,536 ids of the host that are the container's. */
  unsigned base;
  const struct filter* filter;
  char** command;
};

/** Ends the process with what failed and why when `outcome` is negative. */
void must(int outcome, const char* what);

/** Makes, starts and waits for the container; gives its wait status. Its cgroup stays. */
int container_run(const struct container* c);

/** Removes its cgroups, and closes what the run has left open; once after each. */
void container_leave(const struct container* c);
