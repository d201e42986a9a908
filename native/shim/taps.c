#include "taps.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

// Room is said to be while a quarter of this is taken at most; what is left holds what pipes and a terminal may still hold
// when the container ends. Memory is taken only as it is used. Source: net/unix/af_unix.c, unix_writable.
#define ROOM_BYTES (4 << 20)

void taps_init(struct taps* taps) {
  taps->count = 0;
  taps->input = -1;
}

static void make_room(int fd) {
  int bytes = ROOM_BYTES;
  // Without the right to, the host's limit has to do.
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  fcntl(fd, F_SETFL, O_NONBLOCK);
}

int taps_add(struct taps* taps, int io, int err, int feeds) {
  if (taps->count == TAPS_MAX) return errno = EBUSY, -1;
  make_room(io);
  make_room(err);
  taps->all[taps->count++] = (struct tap){.io = io, .err = err, .feeds = feeds};
  return 0;
}

int taps_have_room(const struct taps* taps) {
  struct pollfd polls[2 * TAPS_MAX];
  if (taps->count == 0) return 1;
  nfds_t count = 0;
  for (size_t i = 0; i < taps->count; i++) {
    polls[count++] = (struct pollfd){.fd = taps->all[i].io, .events = POLLOUT};
    polls[count++] = (struct pollfd){.fd = taps->all[i].err, .events = POLLOUT};
  }
  return poll(polls, count, 0) == (int)count;
}

void taps_set_up(const struct taps* taps, struct pollfd polls[TAPS_POLLS]) {
  int waits = taps->start < taps->end;
  short out = taps_have_room(taps) ? 0 : POLLOUT;
  polls[0] = (struct pollfd){.fd = waits ? taps->input : -1, .events = POLLOUT};
  for (size_t i = 0; i < TAPS_MAX; i++) {
    const struct tap* tap = &taps->all[i];
    int is = i < taps->count;
    short in = is && tap->feeds && taps->input >= 0 && !waits ? POLLIN : 0;
    polls[1 + 2 * i] = (struct pollfd){.fd = is ? tap->io : -1, .events = in | out};
    polls[2 + 2 * i] = (struct pollfd){.fd = is ? tap->err : -1, .events = out};
  }
}

void taps_close_input(struct taps* taps) {
  taps->start = taps->end = 0;
  if (taps->input >= 0 && !taps->is_terminal) close(taps->input);
  taps->input = -1;
}

static void pass_on(struct taps* taps) {
  if (taps->start == taps->end || taps->input < 0) return;
  ssize_t n = write(taps->input, taps->ahead + taps->start, taps->end - taps->start);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // Nobody is left to read it.
  if (n < 0) return taps_close_input(taps);
  taps->start += (size_t)n;
}

/** It has no more to type. */
static void end_feed(struct taps* taps, struct tap* tap) {
  tap->feeds = 0;
  if (taps->once && !taps->is_terminal) taps_close_input(taps);
}

static void hear(struct taps* taps, struct tap* tap) {
  if (taps->input < 0 || taps->start < taps->end || !tap->feeds) return;
  ssize_t n = read(tap->io, taps->ahead, TAPS_AHEAD_MAX);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return end_feed(taps, tap);
  taps->start = 0;
  taps->end = (size_t)n;
  pass_on(taps);
}

static void forget(struct taps* taps, unsigned index) {
  struct tap* tap = &taps->all[index];
  // What it has typed before it went still counts.
  hear(taps, tap);
  if (tap->feeds) end_feed(taps, tap);
  close(tap->io);
  close(tap->err);
  *tap = taps->all[--taps->count];
}

void taps_serve(struct taps* taps, const struct pollfd polls[TAPS_POLLS]) {
  if (polls[0].revents) pass_on(taps);
  // From the last: who is forgotten gives its place to one that was served.
  for (size_t i = taps->count; i-- > 0;) {
    short io = polls[1 + 2 * i].revents, err = polls[2 + 2 * i].revents;
    if (io & POLLIN) hear(taps, &taps->all[i]);
    if ((io | err) & (POLLHUP | POLLERR | POLLNVAL)) forget(taps, (unsigned)i);
  }
}

void taps_give(struct taps* taps, int stream, const char* text, size_t length) {
  for (unsigned i = taps->count; i-- > 0;) {
    int fd = stream == 1 ? taps->all[i].io : taps->all[i].err;
    if (send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length) forget(taps, i);
  }
}

void taps_close(struct taps* taps) {
  taps_close_input(taps);
  while (taps->count > 0) {
    struct tap* tap = &taps->all[--taps->count];
    close(tap->io);
    close(tap->err);
  }
}
