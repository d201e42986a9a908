#include "leave.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "hooks.h"
#include "shim.h"
#include "sys.h"

void leave_read(struct leave* leave, struct plan plan, int first) {
  struct plan_record record;
  *leave = (struct leave){.listener = -1, .console = -1};
  while (plan_find(&plan, PLAN_LEAVE, &record) == 1) {
    leave->on = 1;
    leave->kept = (int)plan_number(&record, 0);
    leave->first = first;
    leave->handed = leave->kept;
    if (plan_number(&record, 1)) {
      leave->console = leave->first++;
      leave->handed--;
    }
  }
  sys_close_range((unsigned)(first + leave->kept), ~0u, 0);
}

int leave_listen(struct leave* leave, int folder, struct failure* failure) {
  static const char step[] = "opening the socket of the start";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  // By descriptor, because the folder's own path may be longer than the 108 bytes of a socket's address.
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" START_NAME, folder);
  leave->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (leave->listener < 0) return failed(failure, step, "socket", "");
  mode_t before = umask(0177);
  int bound = bind(leave->listener, (struct sockaddr*)&address, sizeof address);
  umask(before);
  if (bound != 0) return failed(failure, step, "bind", START_NAME);
  if (listen(leave->listener, 1) != 0) return failed(failure, step, "listen", START_NAME);
  return 0;
}

static int has_hooks(struct plan plan) {
  struct plan_record record;
  while (plan_next(&plan, &record) == 1) {
    if (record.op == PLAN_HOOKS) return 1;
  }
  return 0;
}

int leave_hooks(struct plan plan, int door, int pid, struct failure* failure) {
  struct failure heard;
  ssize_t n;
  if (!has_hooks(plan)) return 0;
  do n = read(door, &heard, sizeof heard);
  while (n < 0 && errno == EINTR);
  if (n == (ssize_t)sizeof heard) return *failure = heard, -1;
  if (n != 1)
    return failed_as(failure, ECHILD, "waiting for the first process", "read", "it died before its hooks");
  if (hooks_run(plan, HOOK_PRESTART, pid, failure) != 0) return -1;
  if (hooks_run(plan, HOOK_CREATE_RUNTIME, pid, failure) != 0) return -1;
  if (send(door, "h", 1, MSG_NOSIGNAL) != 1)
    return failed(failure, "waiting for the first process", "send", "");
  return 0;
}

int leave_hooks_inside(struct plan plan, int door, struct failure* failure) {
  char go;
  if (write(door, "h", 1) != 1 || read(door, &go, 1) != 1)
    return failed_as(failure, ECANCELED, "waiting for the hooks", "read", "the shim is gone");
  return hooks_run(plan, HOOK_CREATE_CONTAINER, getpid(), failure);
}

static int hand_out(const struct leave* leave, int master, struct failure* failure) {
  static const char step[] = "handing out the terminal", name[] = "/dev/ptmx";
  if (leave->console < 0) return failed_as(failure, ENOTCONN, step, "sendmsg", "there is no console socket");
  // Its receivers expect one that waits.
  if (fcntl(master, F_SETFL, 0) != 0) return failed(failure, step, "fcntl", "");
  if (send_descriptors(leave->console, name, sizeof name - 1, &master, 1) != 0)
    return failed(failure, step, "sendmsg", "console socket");
  close(master);
  close(leave->console);
  return 0;
}

int leave_place(const struct leave* leave, const struct terminal* terminal, struct failure* failure) {
  static const char step[] = "placing descriptors";
  if (terminal->master >= 0 && hand_out(leave, terminal->master, failure) != 0) return -1;
  // Upwards, so that none is overwritten before it was moved.
  for (int i = 0; i < leave->handed; i++) {
    if (dup2(leave->first + i, 3 + i) < 0) return failed(failure, step, "dup2", "");
  }
  if (sys_close_range((unsigned)(3 + leave->handed), ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) != 0)
    return failed(failure, "closing", "close_range", "");
  return 0;
}

int leave_wait(const struct leave* leave, struct plan plan, const struct program* program, int* door,
               struct failure* failure) {
  static const char step[] = "waiting to be started";
  if (write(*door, "r", 1) != 1) _exit(126);
  close(*door);
  int client;
  do client = accept4(leave->listener, NULL, NULL, SOCK_CLOEXEC);
  while (client < 0 && (errno == EINTR || errno == ECONNABORTED));
  // Nobody can ever start us: there is nobody to tell either.
  if (client < 0) _exit(126);
  *door = client;
  // A second start finds the socket closed.
  close(leave->listener);
  if (send(client, "g", 1, MSG_NOSIGNAL) != 1) errno = 0;
  if (!program->args)
    return failed_as(failure, EINVAL, step, "start", "the config has no process; there is nothing to start");
  return hooks_run(plan, HOOK_START_CONTAINER, getpid(), failure);
}
