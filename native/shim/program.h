// What a process of the container is before exec: limits, user, capabilities, working directory, environment,
// command.
#pragma once

#include "failure.h"
#include "plan.h"

struct program {
  char** args;
  char** env;
  char file[4096];  // what execve gets: found on PATH before anything is reported as ready
  uint64_t bounding, effective, permitted, inheritable, ambient;
  uint32_t uid, gid, umask;
  const char* cwd;
  const char* gids;
  uint32_t gid_count;
  int no_new_privs;
};

/** Takes one operation from PLAN_RLIMIT to PLAN_ARGS: limits apply at once, the rest is kept for `become`. */
int program_step(struct program* program, const struct plan_record* record, struct failure* failure);

/** Becomes that user with those capabilities in that folder, and finds the command; execve is all that is
 * left. */
int become(struct program* program, int make_cwd, struct failure* failure);

/** Clears ignored signals and the mask, which exec would hand on. */
void reset_signals(void);
