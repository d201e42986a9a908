#include "failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void copy(char* to, unsigned size, const char* from) {
  // A path that is too long keeps its end: the last parts name the object.
  size_t length = strlen(from);
  if (length >= size) from += length - size + 1;
  snprintf(to, size, "%s", from);
}

int failed_as(struct failure* failure, int error, const char* step, const char* syscall, const char* path) {
  failure->error = error == 0 ? EIO : error;
  copy(failure->step, sizeof failure->step, step);
  copy(failure->syscall, sizeof failure->syscall, syscall);
  copy(failure->path, sizeof failure->path, path);
  return -1;
}

int failed(struct failure* failure, const char* step, const char* syscall, const char* path) {
  return failed_as(failure, errno, step, syscall, path);
}

int failure_text(const struct failure* f, char* out, unsigned size) {
  return snprintf(out, size, "error\n%d\n%s\n%s\n%s", f->error, f->step, f->syscall, f->path);
}
