// OCI hooks: commands that whoever wrote a bundle wants run at points of a container's life. Only covey-runtime's plans
// hold any; the agent refuses them. Source: OCI runtime-spec config.md, "POSIX-platform Hooks".
#pragma once

#include "failure.h"
#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hook {
  const char* path;
  char* const* args;    // NULL-ended, with argv[0]
  char* const* env;     // NULL-ended; all of it
  uint64_t timeout_ms;  // 0 = as long as it takes
};

/**
 * Runs one hook with `state` on its stdin until its end. 0, or -1 with `failure`: syscall "hook" and path "PATH: why"
 * when it ran and failed, the real ones when it could not be run.
 */
int hook_run(const struct hook* hook, const char* state, struct failure* failure);

#ifdef __cplusplus
}
#endif

/** Runs the plan's hooks of a stage in order; the first that fails ends it. `pid` goes into the state. */
int hooks_run(struct plan plan, enum plan_hook_stage stage, int pid, struct failure* failure);
