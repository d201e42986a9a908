#include "copyup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "sys.h"

// Each level holds three descriptors; paths that deep cannot be named anyway.
#define DEPTH_MAX 100

static const char kStep[] = "copying into a tmpfs";

static int copy_folder(int from, int to, int depth, struct failure* failure);

static int copy_bytes(int from, int to, off_t size) {
  while (size > 0) {
    ssize_t n = sendfile(to, from, NULL, (size_t)size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) return 0;
    size -= n;
  }
  return 0;
}

static int copy_file(int from, int to, const char* name, const struct stat* st) {
  int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (source < 0) return -1;
  int copy = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int outcome = copy < 0 ? -1 : copy_bytes(source, copy, st->st_size);
  int error = errno;
  close(source);
  if (copy >= 0) close(copy);
  errno = error;
  return outcome;
}

static int copy_link(int from, int to, const char* name) {
  char target[PATH_MAX];
  ssize_t length = readlinkat(from, name, target, sizeof target - 1);
  if (length < 0) return -1;
  target[length] = '\0';
  return symlinkat(target, to, name);
}

static int copy_below(int from, int to, const char* name, int depth, struct failure* failure) {
  int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (source < 0) return failed(failure, kStep, "openat", name);
  int copy =
      mkdirat(to, name, 0700) == 0 ? openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
  int outcome =
      copy < 0 ? failed(failure, kStep, "mkdirat", name) : copy_folder(source, copy, depth + 1, failure);
  close(source);
  if (copy >= 0) close(copy);
  return outcome;
}

/** Owner before mode, which a change of owner may narrow; times last. */
static int copy_attributes(int to, const char* name, const struct stat* st) {
  struct timespec times[2] = {st->st_atim, st->st_mtim};
  if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  if (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) != 0) return -1;
  return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_entry(int from, int to, const char* name, int depth, struct failure* failure) {
  struct stat st;
  int outcome;
  if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return failed(failure, kStep, "fstatat", name);
  if (S_ISDIR(st.st_mode)) {
    if (copy_below(from, to, name, depth, failure) != 0) return -1;
    outcome = 0;
  } else if (S_ISREG(st.st_mode)) {
    outcome = copy_file(from, to, name, &st);
  } else if (S_ISLNK(st.st_mode)) {
    outcome = copy_link(from, to, name);
  } else {
    outcome = mknodat(to, name, st.st_mode, st.st_rdev);
  }
  if (outcome == 0) outcome = copy_attributes(to, name, &st);
  return outcome == 0 ? 0 : failed(failure, kStep, "copy", name);
}

static int copy_folder(int from, int to, int depth, struct failure* failure) {
  int listed =
      depth > DEPTH_MAX ? (errno = ELOOP, -1) : openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = listed < 0 ? NULL : fdopendir(listed);
  if (!entries) return failed(failure, kStep, "opendir", "");
  int outcome = 0;
  for (struct dirent* entry; outcome == 0 && (entry = readdir(entries));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    outcome = copy_entry(from, to, entry->d_name, depth, failure);
  }
  closedir(entries);
  return outcome;
}

static int has_own_top(const struct plan_field* options) {
  for (const char* option = plan_each(options, NULL); option; option = plan_each(options, option)) {
    if (strncmp(option, "mode=", 5) == 0 || strncmp(option, "uid=", 4) == 0 ||
        strncmp(option, "gid=", 4) == 0)
      return 1;
  }
  return 0;
}

int copy_up(int from, int to, const struct plan_field* options, struct failure* failure) {
  struct stat st;
  if (copy_folder(from, to, 0, failure) != 0) return -1;
  if (has_own_top(options)) return 0;
  if (fstat(from, &st) != 0 || fchownat(to, ".", st.st_uid, st.st_gid, 0) != 0 ||
      fchmodat(to, ".", st.st_mode & 07777, 0) != 0)
    return failed(failure, kStep, "fchmodat", ".");
  return 0;
}
