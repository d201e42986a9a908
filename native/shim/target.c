#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys.h"

#define DIR_MODE 0755
#define FILE_MODE 0644

int beneath(int root, const char* path, uint64_t flags, uint64_t resolve) {
  struct open_how_ how = {.flags = flags | O_CLOEXEC,
                          .resolve = RESOLVE_IN_ROOT_ | RESOLVE_NO_MAGICLINKS_ | resolve};
  while (*path == '/') path++;
  return sys_openat2(root, *path ? path : ".", &how);
}

const char* last_part(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/** Makes the last folder of `path` in its parent, which is closed. */
static int make_last(int parent, int root, const char* path, uint64_t resolve) {
  const char* name = last_part(path);
  int made = *name == '\0' ? 1 : mkdirat(parent, name, DIR_MODE), error = errno;
  // What we have made is no link, so that the way to it need not be gone again.
  int fd = made == 0 ? openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
  close(parent);
  if (made == 0) return fd;
  if (made < 0 && error != EEXIST) return errno = error, -1;
  return beneath(root, path, O_PATH | O_DIRECTORY, resolve);
}

int make_folders(int root, const char* path, int all, uint64_t resolve) {
  char prefix[PATH_MAX];
  size_t length = strlen(path);
  if (length >= sizeof prefix) return errno = ENAMETOOLONG, -1;
  // Mostly only the last part is missing.
  snprintf(prefix, sizeof prefix, "%.*s", (int)(last_part(path) - path), path);
  int parent = beneath(root, prefix, O_PATH | O_DIRECTORY, resolve);
  if (parent >= 0) return all ? make_last(parent, root, path, resolve) : parent;
  if (errno != ENOENT) return -1;
  parent = beneath(root, "", O_PATH | O_DIRECTORY, 0);
  if (parent < 0) return -1;
  for (const char* at = path; *at;) {
    while (*at == '/') at++;
    size_t part = strcspn(at, "/");
    const char* after = at + part + strspn(at + part, "/");
    if (part == 0 || (*after == '\0' && !all)) break;
    char name[256];
    if (part >= sizeof name) return close(parent), errno = ENAMETOOLONG, -1;
    memcpy(name, at, part);
    name[part] = '\0';
    size_t so_far = (size_t)(at + part - path);
    memcpy(prefix, path, so_far);
    prefix[so_far] = '\0';
    int next = beneath(root, prefix, O_PATH | O_DIRECTORY, resolve);
    if (next < 0 && errno == ENOENT && strcmp(name, "..") != 0 && mkdirat(parent, name, DIR_MODE) == 0) {
      next = beneath(root, prefix, O_PATH | O_DIRECTORY, resolve);
    }
    int error = errno;
    close(parent);
    errno = error;
    if (next < 0) return -1;
    parent = next;
    at = after;
  }
  return parent;
}

int open_target(int root, const char* path, int folder, uint64_t resolve) {
  int fd = beneath(root, path, O_PATH, resolve);
  if (fd >= 0 || errno != ENOENT) return fd;
  int parent = make_folders(root, path, folder, resolve);
  if (parent < 0 || folder) return parent;
  int made = mknodat(parent, last_part(path), S_IFREG | FILE_MODE, 0);
  int error = errno;
  close(parent);
  if (made != 0) return errno = error, -1;
  return beneath(root, path, O_PATH, resolve);
}
