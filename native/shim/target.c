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

/** The folder that something was last made in: the next is mostly made beside it. */
static struct {
  int fd, root;
  uint64_t resolve;
  size_t length;
  char path[PATH_MAX];
} last = {.fd = -1};

void forget_folder(void) {
  if (last.fd >= 0) close(last.fd);
  last.fd = -1;
}

/** Takes the descriptor of the folder above the last part of `path`. */
static void keep_folder(int fd, int root, const char* path, uint64_t resolve) {
  size_t length = (size_t)(last_part(path) - path);
  forget_folder();
  if (length >= sizeof last.path) {
    close(fd);
    return;
  }
  last.fd = fd;
  last.root = root;
  last.resolve = resolve;
  last.length = length;
  memcpy(last.path, path, length);
}

/** That descriptor, if it is of the folder above this path and was found by a rule no laxer; or -1. */
static int kept_folder(int root, const char* path, uint64_t resolve) {
  size_t length = (size_t)(last_part(path) - path);
  int is_same = last.fd >= 0 && last.root == root && (last.resolve & resolve) == resolve &&
                last.length == length && memcmp(last.path, path, length) == 0;
  return is_same ? last.fd : -1;
}

/** Makes the last part of `path` in the folder above it: its descriptor, or -1 with errno. What we have made is no link. */
static int make_in(int parent, const char* path) {
  const char* name = last_part(path);
  if (*name == '\0') return errno = EEXIST, -1;
  if (mkdirat(parent, name, DIR_MODE) != 0) return -1;
  return openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/** Makes the last folder of `path` in its parent, which is kept. */
static int make_last(int parent, int root, const char* path, uint64_t resolve) {
  int fd = make_in(parent, path);
  int error = errno;
  keep_folder(parent, root, path, resolve);
  if (fd >= 0) return fd;
  if (error != EEXIST) return errno = error, -1;
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

int folder_above(int root, const char* path) {
  int parent = kept_folder(root, path, 0);
  if (parent >= 0) return parent;
  parent = make_folders(root, path, 0, 0);
  if (parent < 0) return -1;
  keep_folder(parent, root, path, 0);
  return last.fd;
}

int open_target(int root, const char* path, int folder, uint64_t resolve) {
  int above = folder ? kept_folder(root, path, resolve) : -1;
  int fd = above >= 0 ? make_in(above, path) : -1;
  if (fd >= 0) return fd;
  // What is there already may be a link, and what is mounted on it lie over that folder.
  forget_folder();
  fd = beneath(root, path, O_PATH, resolve);
  if (fd >= 0 || errno != ENOENT) return fd;
  int parent = make_folders(root, path, folder, resolve);
  if (parent < 0 || folder) return parent;
  int made = mknodat(parent, last_part(path), S_IFREG | FILE_MODE, 0);
  int error = errno;
  close(parent);
  if (made != 0) return errno = error, -1;
  return beneath(root, path, O_PATH, resolve);
}
