// The host's descriptors, which no process of the container may hold when anything of the image is looked up: by
// /proc/self/fd each of them leads out of the container (CVE-2024-21626). Closing them at exec is too late, because the
// working directory, the command and the interpreter of a script are looked up before.
#pragma once

#include "failure.h"
#include "leave.h"
#include "terminal.h"

// Door, two pipes, both ends of a terminal, and four of `keep_for_leave`, with room to grow.
#define KEPT_MAX 12

/** Descriptors that stay beside stdin, stdout and stderr. */
struct kept {
  struct {
    int first, count;
  } runs[KEPT_MAX];
  unsigned count;
};

/** One more that stays; -1 is none. */
void keep(struct kept* kept, int fd);

/** What `leave_place` and `leave_wait` will need. */
void keep_for_leave(struct kept* kept, const struct leave* leave);

/** Closes all others. 0, or -1 with `failure` filled. */
int close_others(struct kept* kept, struct failure* failure);
