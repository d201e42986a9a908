#include "cwd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "sys.h"

#define FOLDER_MODE 0755

static int reach(const char* path) {
  struct open_how_ how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS_};
  return sys_openat2(AT_FDCWD, path, &how);
}

/** Makes the last part of `path`, whose folder is `parent`, when it is missing; gives it opened. `parent` is closed. */
static int step_into(int parent, const char* path) {
  const char* name = strrchr(path, '/') + 1;
  int next = reach(path);
  if (next < 0 && errno == ENOENT && (mkdirat(parent, name, FOLDER_MODE) == 0 || errno == EEXIST))
    next = reach(path);
  int error = errno;
  close(parent);
  errno = error;
  return next;
}

int cwd_make(const char* path, struct failure* failure) {
  static const char step[] = "making the working directory";
  char prefix[PATH_MAX];
  int folder = reach(path);
  if (folder >= 0) return close(folder), 0;
  if (errno == EACCES) return 0;
  if (errno != ENOENT) return failed(failure, step, "openat2", path);
  if ((folder = reach("/")) < 0) return failed(failure, step, "openat2", "/");
  size_t length = strlen(path);
  if (length >= sizeof prefix) return failed_as(failure, ENAMETOOLONG, step, "mkdirat", path);
  for (size_t at = 1; at <= length; at++) {
    if (path[at] != '/' && path[at] != '\0') continue;
    if (path[at - 1] == '/') continue;
    memcpy(prefix, path, at);
    prefix[at] = '\0';
    folder = step_into(folder, prefix);
    if (folder < 0) return failed(failure, step, "mkdirat", prefix);
  }
  close(folder);
  return 0;
}

int cwd_enter(const char* path, struct failure* failure) {
  static const char step[] = "entering the working directory";
  char real[PATH_MAX];
  int folder = reach(path);
  if (folder < 0) return failed(failure, step, "openat2", path);
  if (fchdir(folder) != 0) return failed(failure, step, "fchdir", path);
  close(folder);
  long length = syscall(SYS_getcwd, real, sizeof real);
  if (length < 0) return failed(failure, step, "getcwd", path);
  // "(unreachable)" is what the kernel says of one outside.
  if (real[0] != '/') return failed_as(failure, EPERM, step, "getcwd", path);
  return 0;
}
