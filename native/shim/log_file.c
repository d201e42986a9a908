#include "log_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_newest(struct log_file* file) {
  struct stat st;
  int fd = openat(file->folder, file->name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (fd < 0) return -1;
  if (fstat(fd, &st) != 0) return close(fd), -1;
  file->fd = fd;
  file->size = (uint64_t)st.st_size;
  return 0;
}

/** The highest number that was put aside, by an earlier shim of a container that is run again. */
static unsigned highest_aside(const struct log_file* file) {
  unsigned highest = 0, number;
  size_t length = strlen(file->name);
  int copy = openat(file->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* folder = copy < 0 ? NULL : fdopendir(copy);
  if (folder == NULL) return 0;
  for (const struct dirent* entry; (entry = readdir(folder)) != NULL;) {
    if (strncmp(entry->d_name, file->name, length) != 0 || entry->d_name[length] != '.') continue;
    number = (unsigned)strtoul(entry->d_name + length + 1, NULL, 10);
    if (number > highest) highest = number;
  }
  closedir(folder);
  return highest;
}

int log_file_open(struct log_file* file, const char* path, uint64_t size_max, unsigned files) {
  const char* slash = strrchr(path, '/');
  char folder[4096];
  if (slash == NULL || slash == path || slash[1] == '\0') return errno = EINVAL, -1;
  size_t length = (size_t)(slash - path);
  if (length >= sizeof folder || strlen(slash + 1) >= sizeof file->name) return errno = ENAMETOOLONG, -1;
  memcpy(folder, path, length);
  folder[length] = '\0';
  snprintf(file->name, sizeof file->name, "%s", slash + 1);
  file->size_max = size_max;
  file->files = files;
  file->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file->folder < 0 || open_newest(file) != 0) return -1;
  if (file->size > 0) file->number = highest_aside(file);
  return 0;
}

/** Removes the file of that number, compressed or not. */
static void forget(const struct log_file* file, unsigned number) {
  char name[LOG_NAME_MAX + 16];
  snprintf(name, sizeof name, "%s.%08u", file->name, number);
  unlinkat(file->folder, name, 0);
  // In this order: the agent that has just put the compressed one in place finds the plain one gone and removes both.
  snprintf(name, sizeof name, "%s.%08u.gz", file->name, number);
  unlinkat(file->folder, name, 0);
}

/** Puts the newest file aside and begins another; the oldest falls off. Readers that hold it open see its end. */
static void rotate(struct log_file* file) {
  char aside[LOG_NAME_MAX + 16];
  int old = file->fd;
  file->number++;
  // First, so that the files never take more than their share.
  if (file->number >= file->files) forget(file, file->number - file->files + 1);
  snprintf(aside, sizeof aside, "%s.%08u", file->name, file->number);
  if (file->files > 1)
    renameat(file->folder, file->name, file->folder, aside);
  else
    unlinkat(file->folder, file->name, 0);
  if (open_newest(file) == 0)
    close(old);
  else
    file->size =
        0;  // no new file can be made: go on in the one we have rather than lose lines, and try again later
}

static unsigned long long lines_in(const char* at, size_t bytes) {
  unsigned long long lines = 0;
  for (const char* end = at + bytes; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) lines++;
  return lines;
}

static void append(struct log_file* file, const char* lines, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    ssize_t n = write(file->fd, lines + done, bytes - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (size_t)n;
  }
  if (done < bytes) {
    const char* newline = memrchr(lines, '\n', done);
    size_t kept = newline == NULL ? 0 : (size_t)(newline - lines) + 1;
    if (kept < done && ftruncate(file->fd, (off_t)(file->size + kept)) != 0) kept = done;
    __atomic_add_fetch(&file->dropped, lines_in(lines + kept, bytes - kept), __ATOMIC_RELAXED);
    done = kept;
  }
  file->size += done;
}

void log_file_put(struct log_file* file, const char* lines, size_t bytes) {
  while (bytes > 0) {
    uint64_t room = file->size < file->size_max ? file->size_max - file->size : 0;
    size_t part = bytes;
    if (part > room) {
      const char* newline = memrchr(lines, '\n', room);
      if (newline == NULL && file->size > 0) {
        rotate(file);
        continue;
      }
      if (newline == NULL) newline = memchr(lines, '\n', bytes);
      part = newline == NULL ? bytes : (size_t)(newline - lines) + 1;
    }
    append(file, lines, part);
    lines += part;
    bytes -= part;
  }
}
