// The demo's web server: one static program, one thread, no files. See usage().
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "modes.h"

enum { CONNECTIONS_MAX = 4096, EVENTS_MAX = 256 };

static struct connection* connections[CONNECTIONS_MAX];
static int highest = 0;

static void usage(void) {
  static const char text[] =
      "usage: server [MODE]\n"
      "  (none)     serve on 0.0.0.0:$PORT (80): / tells hostname, version and client, /healthz tells ok;\n"
      "             /?ms=50 answers 50 ms later; SIGTERM ends it at once\n"
      "  crash N    serve, exit with 1 after N seconds (0: before serving)\n"
      "  exit0 N    serve, exit with 0 after N seconds\n"
      "  deaf       serve, ignore SIGTERM\n"
      "  sick [N]   serve, /healthz tells 500 after N seconds (0)\n"
      "  lines N    print N numbered lines a second\n"
      "  check      exit with 0 if the server here tells /healthz ok\n";
  if (write(2, text, sizeof text - 1) < 0) _exit(2);
  _exit(2);
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fail(const char* what) {
  fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int listen_here(void) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(server_port())};
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr*)&here, sizeof here) < 0) fail("bind");
  if (listen(fd, 4096) < 0) fail("listen");
  return fd;
}

static void drop(int slot) {
  close(connections[slot]->fd);
  free(connections[slot]);
  connections[slot] = NULL;
  while (highest > 0 && connections[highest - 1] == NULL) highest--;
}

static void accept_all(int listener, int epoll) {
  for (;;) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    const int fd = accept4(listener, (struct sockaddr*)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int slot = 0;
    while (slot < highest && connections[slot] != NULL) slot++;
    struct connection* c = slot < CONNECTIONS_MAX ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
      close(fd);
      continue;
    }
    c->fd = fd;
    c->opened_ms = c->used_ms = now_ms();
    inet_ntop(AF_INET, &from.sin_addr, c->client, sizeof c->client);
    connections[slot] = c;
    if (slot == highest) highest++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u32 = (uint32_t)slot};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) drop(slot);
  }
}

static int timeout_until(int64_t end_ms) {
  int64_t next = end_ms;
  for (int slot = 0; slot < highest; slot++) {
    if (connections[slot] == NULL) continue;
    const int64_t deadline = connection_deadline(connections[slot]);
    if (deadline < next) next = deadline;
  }
  if (next == INT64_MAX) return -1;
  const int64_t left = next - now_ms();
  return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/** Serves until `end_ms` by the monotonic clock. */
static void serve(const struct site* site, int64_t end_ms) {
  const int listener = listen_here();
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = CONNECTIONS_MAX};
  if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll");
  printf("server: version %s on port %d\n", site->version, server_port());
  fflush(stdout);
  while (now_ms() < end_ms) {
    struct epoll_event events[EVENTS_MAX];
    const int count = epoll_wait(epoll, events, EVENTS_MAX, timeout_until(end_ms));
    const int64_t now = now_ms();
    for (int at = 0; at < count; at++) {
      const uint32_t slot = events[at].data.u32;
      if (slot == CONNECTIONS_MAX) {
        accept_all(listener, epoll);
      } else if (connections[slot] != NULL && !connection_advance(connections[slot], site, now, true)) {
        drop((int)slot);
      }
    }
    for (int slot = 0; slot < highest; slot++) {
      struct connection* c = connections[slot];
      if (c != NULL && connection_deadline(c) <= now && !connection_advance(c, site, now, false)) drop(slot);
    }
  }
}

static void on_signal(int number) {
  (void)number;
  // Everything is the kernel's to close: the listener first of all.
  _exit(0);
}

static int64_t after_seconds(const char* text) { return now_ms() + (int64_t)(atof(text) * 1000); }

int main(int argc, char** argv) {
  const char* own = strrchr(argv[0], '/') == NULL ? argv[0] : strrchr(argv[0], '/') + 1;
  if (strcmp(own, "sh") == 0) return shell(argc, argv);
  const char* mode = argc > 1 ? argv[1] : "serve";
  const char* value = argc > 2 ? argv[2] : "0";
  char hostname[256] = "unknown";
  gethostname(hostname, sizeof hostname - 1);
  const char* version = getenv("VERSION");
  struct site site = {hostname, version == NULL ? "none" : version, INT64_MAX};
  struct sigaction action = {.sa_handler = strcmp(mode, "deaf") == 0 ? SIG_IGN : on_signal};
  sigaction(SIGTERM, &action, NULL);
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, NULL);
  const bool serves = strcmp(mode, "serve") == 0 || strcmp(mode, "deaf") == 0;
  if (strcmp(mode, "check") == 0) return check();
  if (strcmp(mode, "lines") == 0 && argc > 2) return lines(atoi(value));
  if (strcmp(mode, "sick") == 0) site.sick_at_ms = after_seconds(value);
  if (serves || strcmp(mode, "sick") == 0) {
    serve(&site, INT64_MAX);
    return 0;
  }
  const bool crashes = strcmp(mode, "crash") == 0;
  if ((!crashes && strcmp(mode, "exit0") != 0) || argc < 3) usage();
  if (atof(value) > 0) serve(&site, after_seconds(value));
  if (crashes) fprintf(stderr, "server: crashing as asked\n");
  return crashes ? 1 : 0;
}
