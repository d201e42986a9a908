// Work in a process beside the shim, for what must not change the shim itself: its namespaces, its mounts.
#pragma once

#include <stdint.h>

#include "failure.h"

/** What the work gives back. Descriptors it opens are the caller's too: both share one table. */
struct aside {
  struct failure failure;
  int fd;
  int pid;
};

/**
 * Runs `work` in a child made with `flags` and waits for its end. `work` fills `result` and gives 0, or -1 with
 * result->failure. Gives the same.
 */
int aside(uint64_t flags, int (*work)(void* with, struct aside* result), void* with, struct aside* result);
