// A failed step: travels from the container's first process to the shim, and from there to the addon.
#pragma once

#include <stdint.h>

struct failure {
  int32_t error;  // errno; 0 = none
  char step[40];
  char syscall[24];
  char path[192];
};

/** Fills `failure` from errno and gives -1, so that a step can end with `return failed(...)`. */
int failed(struct failure* failure, const char* step, const char* syscall, const char* path);

/** The same with an errno of its own. */
int failed_as(struct failure* failure, int error, const char* step, const char* syscall, const char* path);

/** The failure as text for the addon: "error\nERRNO\nSTEP\nSYSCALL\nPATH"; gives its length. */
int failure_text(const struct failure* failure, char* out, unsigned size);
