// The control socket: proof of identity for an agent that was away, start and signals.
//
// SEQPACKET; a request is "covey VERSION VERB [ARGUMENT]", an answer "ok\n…" or
// "error\nERRNO\nSTEP\nSYSCALL\nPATH".
//   hello   -> ok, version, boot id, pid, start time, life (created running exited), run
//   start   -> ok after exec has succeeded
//   signal N-> ok
//   resize ROWS COLUMNS -> ok, when the container has a terminal
//   attach FEEDS -> ok TERMINAL INPUT: the two sockets that came along hear all that is said from now on, and with FEEDS the
//              first of them types
//   attend  -> as hello: while this connection lasts its agent decides what follows an exit. Of one that may be followed by
//              another run it is told "ended", and says
//   taken   -> nothing: it decides indeed. Without that, as when its process is dead but its descriptors are not yet closed,
//              the shim goes on by itself once the connection ends
//   begin   -> as start, and the connection attends; on the door that our maker holds, which is a client like any other
//   release -> nothing: the connection lasts, but attends no more
//   retire  -> nothing: the container is to end and not to run again, whatever its policy
// Agents of version 1 know no attendance: whatever they command is theirs to decide about from then on. Those of version 2 are
// told nothing and take nothing: an end while they attend is theirs.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "cgroup.h"
#include "fault.h"
#include "request.h"
#include "shim.h"
#include "sys.h"

#define REQUEST_MAX 128

int control_open(struct shim* shim, struct failure* failure) {
  static const char step[] = "opening the control socket";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  for (int i = 0; i < CLIENTS_MAX; i++) shim->clients[i] = -1;
  // By descriptor, because the folder's own path may be longer than the 108 bytes of a socket's address.
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" CONTROL_NAME, shim->folder);
  shim->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (shim->listener < 0) return failed(failure, step, "socket", "");
  mode_t before = umask(0177);
  int bound = bind(shim->listener, (struct sockaddr*)&address, sizeof address);
  umask(before);
  if (bound != 0) return failed(failure, step, "bind", CONTROL_NAME);
  if (listen(shim->listener, CLIENTS_MAX) != 0) return failed(failure, step, "listen", CONTROL_NAME);
  return 0;
}

void control_keep_door(struct shim* shim) {
  fcntl(DOOR, F_SETFL, O_NONBLOCK);
  shim->clients[DOOR_CLIENT] = DOOR;
}

void control_close_door(struct shim* shim) {
  if (shim->clients[DOOR_CLIENT] < 0) return;
  close(shim->clients[DOOR_CLIENT]);
  shim->clients[DOOR_CLIENT] = -1;
}

void control_accept(struct shim* shim) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  int fd = accept4(shim->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      (peer.uid != 0 && peer.uid != geteuid())) {
    close(fd);
    return;
  }
  for (int i = DOOR_CLIENT + 1; i < CLIENTS_MAX; i++) {
    if (shim->clients[i] >= 0) continue;
    shim->clients[i] = fd;
    return;
  }
  say(fd, "error\n16\nanswering\naccept\ntoo many clients");
  close(fd);
}

static void answer_failure(int fd, int error, const char* step, const char* syscall, const char* path) {
  struct failure failure;
  char text[400];
  failed_as(&failure, error, step, syscall, path);
  failure_text(&failure, text, sizeof text);
  say(fd, text);
}

static void answer_hello(const struct shim* shim, int fd) {
  // Waiting for its next run it has ended for whoever is there to decide about it.
  static const char* const lives[] = {"created", "running", "exited", "exited"};
  char text[160];
  snprintf(text, sizeof text, "ok\n%d\n%s\n%d\n%llu\n%s\n%u", CONTROL_VERSION, shim->boot_id, shim->pid,
           shim->start_time, lives[shim->life], shim->restart.run);
  say(fd, text);
}

int let_go(struct shim* shim, struct failure* failure) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  shim->started_seconds = now.tv_sec;
  shim->started_nanoseconds = now.tv_nsec;
  shim->restart.run_since = monotonic_ms();
  shim->oom_before = oom_kills(shim->oom);
  if (send(shim->door, "g", 1, MSG_NOSIGNAL) != 1)
    return failed_as(failure, ESRCH, "starting", "send", "the first process is gone");
  fault_at("start.sent", NULL);
  int started = hear_init(shim, failure, 0);
  fault_at("start.heard", NULL);
  close(shim->door);
  shim->door = -1;
  shim->life = LIFE_RUNNING;
  return started;
}

static void answer_start(struct shim* shim, int fd) {
  struct failure failure = {.error = 0};
  if (shim->life != LIFE_CREATED) {
    answer_failure(fd, EALREADY, "starting", "start", "it was started before");
    return;
  }
  fault_at("start.asked", NULL);
  if (let_go(shim, &failure) == 0)
    say(fd, "ok");
  else
    answer_failure(fd, failure.error, failure.step, failure.syscall, failure.path);
}

static void answer_resize(const struct shim* shim, int fd, const struct request* request) {
  static const char step[] = "resizing the terminal";
  if (shim->terminal.master < 0)
    answer_failure(fd, ENOTTY, step, "ioctl", "the container has no terminal");
  else if (terminal_resize(shim->terminal.master, (uint64_t)request->number, (uint64_t)request->second) != 0)
    answer_failure(fd, errno, step, "ioctl", "TIOCSWINSZ");
  else
    say(fd, "ok");
}

static void answer_attach(struct shim* shim, int fd, const struct request* request, int ends[2]) {
  static const char step[] = "attaching";
  char text[32];
  if (ends[0] < 0 || ends[1] < 0) {
    answer_failure(fd, EBADMSG, step, "recvmsg", "two sockets must come along");
  } else if (shim->life == LIFE_EXITED || shim->life == LIFE_WAITING) {
    answer_failure(fd, ESRCH, step, "attach", "the container has ended");
  } else if (taps_add(&shim->taps, ends[0], ends[1], request->number != 0) != 0) {
    answer_failure(fd, errno, step, "attach", "too many listen already");
  } else {
    ends[0] = ends[1] = -1;
    snprintf(text, sizeof text, "ok\n%d\n%d", shim->terminal.master >= 0, shim->taps.input >= 0);
    say(fd, text);
  }
}

void control_serve(struct shim* shim, int index) {
  char text[REQUEST_MAX];
  int fd = shim->clients[index], ends[2];
  ssize_t n = receive_descriptors(fd, text, sizeof text - 1, ends);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    close(fd);
    shim->clients[index] = -1;
    restart_left(&shim->restart, index);
    return;
  }
  text[n] = '\0';
  struct request request = request_read(text);
  const char* verb = request.verb;
  const long version = request.version;
  if (version == 1) shim->restart.retired = 1;
  if (version < 1 || *verb == '\0') {
    answer_failure(fd, EPROTO, "reading a request", "recv", "not our language");
  } else if (strcmp(verb, "hello") == 0) {
    answer_hello(shim, fd);
  } else if (strcmp(verb, "attend") == 0) {
    restart_attended(&shim->restart, index, version);
    answer_hello(shim, fd);
  } else if (strcmp(verb, "retire") == 0) {
    shim->restart.retired = 1;
  } else if (strcmp(verb, "begin") == 0) {
    restart_attended(&shim->restart, index, version);
    answer_start(shim, fd);
  } else if (strcmp(verb, "release") == 0) {
    restart_left(&shim->restart, index);
  } else if (strcmp(verb, "taken") == 0) {
    restart_taken(&shim->restart, index);
  } else if (strcmp(verb, "start") == 0) {
    answer_start(shim, fd);
  } else if (strcmp(verb, "signal") == 0) {
    if (syscall(SYS_pidfd_send_signal, shim->pidfd, request.number, NULL, 0) == 0)
      say(fd, "ok");
    else
      answer_failure(fd, errno, "signalling", "pidfd_send_signal", "");
  } else if (strcmp(verb, "resize") == 0) {
    answer_resize(shim, fd, &request);
  } else if (strcmp(verb, "attach") == 0) {
    answer_attach(shim, fd, &request, ends);
  } else {
    answer_failure(fd, ENOSYS, "reading a request", "recv", verb);
  }
  // What came along unasked, or was not taken.
  for (int i = 0; i < 2; i++) {
    if (ends[i] >= 0) close(ends[i]);
  }
}

int control_wait(struct shim* shim, int ms) {
  struct pollfd polls[CLIENTS_MAX + 1];
  for (int i = 0; i < CLIENTS_MAX; i++) polls[i] = (struct pollfd){.fd = shim->clients[i], .events = POLLIN};
  polls[CLIENTS_MAX] = (struct pollfd){.fd = shim->listener, .events = POLLIN};
  if (poll(polls, CLIENTS_MAX + 1, ms) <= 0) return 0;
  for (int i = 0; i < CLIENTS_MAX; i++) {
    if (polls[i].revents) control_serve(shim, i);
  }
  if (polls[CLIENTS_MAX].revents) control_accept(shim);
  return 1;
}
