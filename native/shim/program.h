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
  struct plan_field filter;  // seccomp's; length 0 = none
  uint32_t filter_flags;
  int reaper;
};

/** Takes one operation from PLAN_RLIMIT to PLAN_ARGS: limits apply at once, the rest is kept for `become`. */
int program_step(struct program* program, const struct plan_record* record, struct failure* failure);

/**
 * Becomes that user with those capabilities in that folder with a session keyring of its own, and finds the command; `program_run` is all that is left.
 * Nothing of the host's may be open any more (descriptors.h): folder and command are the image's words.
 */
int become(struct program* program, int make_cwd, struct failure* failure);

/**
 * Sets the five sets but the bounding one. `also_*` is held beside what the program gets, for what is left to do. A
 * capability that this process lacks itself can be given to nobody and is left out (OCI runtime-spec, process).
 */
int set_capabilities(const struct program* program, uint64_t also_permitted, uint64_t also_effective,
                     struct failure* failure);

/**
 * Installs the system call filter and runs the command; gives -1 when that fails and does not return otherwise. With
 * PLAN_REAPER the caller stays behind as the init of its pid namespace, with `door` closed.
 */
int program_run(struct program* program, int door, struct failure* failure);

/** Clears ignored signals and the mask, which exec would hand on. */
void reset_signals(void);
