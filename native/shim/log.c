#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HEADER_MAX 48
#define PAIRS_MAX 48

void log_time(char* out, int64_t seconds, long nanoseconds) {
  time_t t = (time_t)seconds;
  struct tm tm;
  gmtime_r(&t, &tm);
  snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
           tm.tm_hour, tm.tm_min, tm.tm_sec, nanoseconds);
}

static int open_newest(struct log_file* file) {
  struct stat st;
  file->fd = open(file->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (file->fd < 0 || fstat(file->fd, &st) != 0) return -1;
  file->size = (uint64_t)st.st_size;
  return 0;
}

int log_open(struct log_file* file, const char* path, uint64_t size_max, unsigned files) {
  if (snprintf(file->path, sizeof file->path, "%s", path) >= (int)sizeof file->path - 8)
    return errno = ENAMETOOLONG, -1;
  file->size_max = size_max;
  file->files = files;
  return open_newest(file);
}

/** path.N-1 -> path.N, …, path -> path.1; the oldest falls off. Readers that hold the old file open see its
 * end. */
static void rotate(struct log_file* file) {
  char from[4112], to[4112];
  for (unsigned i = file->files - 1; i >= 1; i--) {
    snprintf(to, sizeof to, "%s.%u", file->path, i);
    if (i == 1)
      snprintf(from, sizeof from, "%s", file->path);
    else
      snprintf(from, sizeof from, "%s.%u", file->path, i - 1);
    rename(from, to);
  }
  int old = file->fd;
  if (file->files <= 1) {
    if (ftruncate(old, 0) == 0) file->size = 0;
    return;
  }
  if (open_newest(file) == 0) {
    close(old);
  } else {
    file->fd = old;  // no new file can be made: go on in the one we have rather than lose lines
    file->size = 0;
  }
}

/** All or nothing: a record that no longer fits on the disk is taken back whole, so that no line is ever
 * torn. */
static void append(struct log_file* file, struct iovec* iov, int count, unsigned lines) {
  uint64_t bytes = 0, done = 0;
  for (int i = 0; i < count; i++) bytes += iov[i].iov_len;
  if (file->size > 0 && file->size + bytes > file->size_max) rotate(file);
  while (done < bytes) {
    ssize_t n = writev(file->fd, iov, count);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (uint64_t)n;
    for (; count > 0 && (size_t)n >= iov->iov_len; iov++, count--) n -= (ssize_t)iov->iov_len;
    if (count > 0) {
      iov->iov_base = (char*)iov->iov_base + n;
      iov->iov_len -= (size_t)n;
    }
  }
  if (done == bytes) {
    file->size += bytes;
    return;
  }
  file->dropped += lines;
  if (done > 0 && ftruncate(file->fd, (off_t)file->size) != 0) file->size += done;
}

static void mention_dropped(struct log_file* file, const char* stamp) {
  char text[128];
  if (file->dropped == 0) return;
  unsigned long long dropped = file->dropped;
  int n = snprintf(text, sizeof text, "%s stderr F covey: %llu lines were lost: the disk took no more\n",
                   stamp, dropped);
  struct iovec one = {.iov_base = text, .iov_len = (size_t)n};
  file->dropped = 0;
  uint64_t before = file->size;
  append(file, &one, 1, 0);
  if (file->size == before) file->dropped = dropped;  // still full: mention it later
}

/** Writes the whole lines at the front of the stream's text and keeps the rest; all of it when `everything`.
 */
static void write_lines(struct log_file* file, struct log_stream* stream, int everything) {
  char stamp[40], whole[HEADER_MAX], piece[HEADER_MAX];
  struct iovec iov[2 * PAIRS_MAX + 1];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  log_time(stamp, now.tv_sec, now.tv_nsec);
  size_t whole_length = (size_t)snprintf(whole, sizeof whole, "%s %s F ", stamp, stream->name);
  snprintf(piece, sizeof piece, "%s %s P ", stamp, stream->name);
  mention_dropped(file, stamp);
  size_t at = 0;
  while (at < stream->used) {
    int count = 0;
    unsigned lines = 0;
    for (; lines < PAIRS_MAX - 1 && at < stream->used; lines++) {
      char* start = stream->text + at;
      char* newline = memchr(start, '\n', stream->used - at);
      int full = !newline && at == 0 && stream->used == LOG_LINE_MAX;
      if (!newline && !full && !everything) break;
      size_t length = newline ? (size_t)(newline - start) + 1 : stream->used - at;
      iov[count++] = (struct iovec){.iov_base = full && !everything ? piece : whole, .iov_len = whole_length};
      iov[count++] = (struct iovec){.iov_base = start, .iov_len = length};
      if (!newline) iov[count++] = (struct iovec){.iov_base = (char*)"\n", .iov_len = 1};
      at += length;
    }
    if (lines == 0) break;
    append(file, iov, count, lines);
  }
  stream->used -= at;
  memmove(stream->text, stream->text + at, stream->used);
}

void log_end(struct log_file* file, struct log_stream* stream) {
  if (stream->used > 0) write_lines(file, stream, 1);
  close(stream->fd);
  stream->fd = -1;
}

int log_pump(struct log_file* file, struct log_stream* stream) {
  ssize_t n = read(stream->fd, stream->text + stream->used, LOG_LINE_MAX - stream->used);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) {
    log_end(file, stream);
    return -1;
  }
  stream->used += (size_t)n;
  write_lines(file, stream, 0);
  return 1;
}
