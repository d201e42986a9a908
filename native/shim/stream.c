#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cgroup.h"
#include "sys.h"

// What a terminal may hold after its command has ended. Others of the command's tree may go on writing for ever; the
// kernel's buffer of a terminal is smaller than this. Source: drivers/tty/tty_buffer.c, TTYB_DEFAULT_MEM_LIMIT.
#define LAST_WORDS_MAX (128u << 10)
#define FLOW_MAX 16384u

/** One direction of the relay; at most this much is on its way. */
struct flow {
  int from, to;
  size_t start, end;
  int is_over;
  int is_dropped;  // nobody reads it, and it must not stand still
  char text[FLOW_MAX];
};

enum slot { SLOT_DOOR, SLOT_PIDFD, SLOT_CLIENT, SLOT_MASTER, SLOTS };

struct relay {
  struct flow in, out;
  size_t last_words;
  int has_ended;
};

void stream_take(struct stream* stream, const struct plan_record* record) {
  stream->wanted = 1;
  stream->flags = (unsigned)plan_number(record, 0);
  stream->rows = plan_number(record, 1);
  stream->columns = plan_number(record, 2);
  stream->client = stream->terminal.master = stream->terminal.peer = -1;
  stream->handover[0] = stream->handover[1] = -1;
}

int stream_give(const struct stream* stream, struct plan plan, struct failure* failure) {
  struct plan_record record;
  struct stat st;
  if (!stream->wanted || stream->flags & STREAM_TERMINAL) return 0;
  while (plan_next(&plan, &record) == 1) {
    if (record.op != PLAN_STDIO_OWNER) continue;
    for (int fd = 0; fd < 3; fd++) {
      if (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode)) continue;
      if (fchown(fd, (uid_t)plan_number(&record, 0), (gid_t)-1) != 0)
        return failed(failure, "giving the command its streams", "fchown", "");
    }
  }
  return 0;
}

int stream_open(struct stream* stream, struct failure* failure) {
  static const char step[] = "opening a terminal";
  if (!stream->wanted || !(stream->flags & STREAM_TERMINAL)) return 0;
  stream->client = fcntl(0, F_DUPFD_CLOEXEC, 5);
  if (stream->client < 0) return failed(failure, step, "fcntl", "");
  fcntl(stream->client, F_SETFL, O_NONBLOCK);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, stream->handover) == 0) return 0;
  return failed(failure, step, "socketpair", "");
}

int stream_enter(struct stream* stream, uid_t uid, struct failure* failure) {
  static const char step[] = "opening a terminal";
  struct terminal* terminal = &stream->terminal;
  if (!stream->wanted || !(stream->flags & STREAM_TERMINAL)) return 0;
  // In a user namespace the host's root owns nothing that could be given away: its own root must open the terminal.
  if (setresgid(0, 0, 0) != 0) return failed(failure, step, "setresgid", "0");
  if (setresuid(0, 0, 0) != 0) return failed(failure, step, "setresuid", "0");
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return failed(failure, step, "open", "/");
  int outcome = terminal_open(root, terminal, failure);
  close(root);
  if (outcome != 0) return -1;
  if (terminal_resize(terminal->master, stream->rows, stream->columns) != 0)
    return failed(failure, step, "ioctl", "TIOCSWINSZ");
  const int ends[] = {terminal->master, terminal->peer};
  if (send_descriptors(stream->handover[1], "t", 1, ends, 2) != 0)
    return failed(failure, step, "sendmsg", "");
  return terminal_enter(terminal, uid, failure);
}

void stream_leave(struct stream* stream, int null) {
  int ends[2];
  char word;
  if (!stream->wanted) return;
  if (stream->flags & STREAM_TERMINAL) {
    close(stream->handover[1]);
    // Nothing comes when the command's process has failed before: it says so on its own way.
    if (receive_descriptors(stream->handover[0], &word, 1, ends) == 1)
      stream->terminal = (struct terminal){.master = ends[0], .peer = ends[1]};
    close(stream->handover[0]);
  }
  // The terminal's peer stays open here: a command that closes its own and opens /dev/tty later finds it alive.
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
}

/** Reads when there is room, writes what there is. */
static void move(struct flow* flow, int may_read) {
  if (flow->start == flow->end && may_read && !flow->is_over) {
    ssize_t n = read(flow->from, flow->text, FLOW_MAX);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    flow->is_over = n <= 0;
    flow->start = 0;
    flow->end = n > 0 ? (size_t)n : 0;
  }
  if (flow->start == flow->end) return;
  ssize_t n = flow->is_dropped ? (ssize_t)(flow->end - flow->start)
                               : write(flow->to, flow->text + flow->start, flow->end - flow->start);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // Nobody is left to read it.
  if (n < 0) flow->is_over = 1;
  flow->start = n < 0 ? flow->end : flow->start + (size_t)n;
}

static short events_for(const struct flow* reads, const struct flow* writes) {
  short events = 0;
  if (reads->start == reads->end && !reads->is_over) events |= POLLIN;
  if (writes->start < writes->end) events |= POLLOUT;
  return events;
}

/** One order of the caller; 0 when it has gone. */
static int take_order(struct stream* stream, const struct streamed* command, struct relay* relay) {
  struct stream_order order;
  ssize_t n = recv(command->door, &order, sizeof order, MSG_WAITALL);
  if (n < 0 && errno == EINTR) return 1;
  if (n != (ssize_t)sizeof order) return 0;
  // A size out of range or a signal that is none comes from nobody but the addon, which has checked them; a command that
  // has just ended takes neither.
  if (order.kind == STREAM_RESIZE && stream->terminal.master >= 0)
    terminal_resize(stream->terminal.master, order.rows, order.columns);
  if (order.kind == STREAM_SIGNAL) syscall(SYS_pidfd_send_signal, command->pidfd, order.number, NULL, 0);
  if (order.kind == STREAM_DETACH) {
    stream->flags |= STREAM_DETACHED;
    relay->in.is_over = relay->out.is_dropped = 1;
    relay->out.is_over = 0;
    relay->in.start = relay->in.end;
  }
  return 1;
}

/** True when what the terminal held at the command's end has been passed on. */
static int is_drained(struct relay* relay) {
  struct flow* out = &relay->out;
  while (relay->last_words < LAST_WORDS_MAX) {
    size_t before = out->end - out->start;
    if (before > 0) return 0;
    // The master is non-blocking and gives all that was written before, so nothing now means nothing ever.
    ssize_t n = out->is_over ? 0 : read(out->from, out->text, FLOW_MAX);
    if (n <= 0) return 1;
    relay->last_words += (size_t)n;
    out->start = 0;
    out->end = (size_t)n;
    move(out, 0);
  }
  return out->start == out->end;
}

static void set_up(const struct stream* stream, const struct streamed* command, const struct relay* relay,
                   struct pollfd* polls) {
  int master = stream->terminal.master;
  short from_client = events_for(&relay->in, &relay->out), from_master = events_for(&relay->out, &relay->in);
  // Descriptors of which nothing is wanted are left out: they would report a hang-up again and again.
  polls[SLOT_CLIENT] =
      (struct pollfd){.fd = master >= 0 && from_client ? stream->client : -1, .events = from_client};
  polls[SLOT_MASTER] = (struct pollfd){.fd = master >= 0 && from_master ? master : -1, .events = from_master};
  polls[SLOT_PIDFD] = (struct pollfd){.fd = relay->has_ended ? -1 : command->pidfd, .events = POLLIN};
}

int stream_watch(struct stream* stream, const struct streamed* command, int* killed) {
  static struct relay relay;
  struct pollfd polls[SLOTS] = {{.fd = command->door, .events = POLLIN}};
  int status = 0;
  relay.in.from = relay.out.to = stream->client;
  relay.in.to = relay.out.from = stream->terminal.master;
  for (;;) {
    set_up(stream, command, &relay, polls);
    if (poll(polls, SLOTS, -1) < 0) continue;
    if (polls[SLOT_DOOR].revents && !take_order(stream, command, &relay)) {
      polls[SLOT_DOOR].fd = -1;
      if (!(stream->flags & STREAM_DETACHED)) break;
    }
    if (polls[SLOT_CLIENT].revents || polls[SLOT_MASTER].revents) {
      move(&relay.in, polls[SLOT_CLIENT].revents & (POLLIN | POLLHUP));
      move(&relay.out, relay.has_ended ? 0 : polls[SLOT_MASTER].revents & (POLLIN | POLLHUP));
    }
    if (polls[SLOT_PIDFD].revents) {
      while (waitpid(command->pid, &status, __WALL) < 0 && errno == EINTR) continue;
      relay.has_ended = relay.in.is_over = 1;
      relay.in.start = relay.in.end;
    }
    if (relay.has_ended && (stream->terminal.master < 0 || is_drained(&relay))) return status;
  }
  *killed = 1;
  if (command->tree >= 0) cgroup_kill(command->tree);
  if (relay.has_ended) return status;
  kill(command->pid, SIGKILL);
  while (waitpid(command->pid, &status, __WALL) < 0 && errno == EINTR) continue;
  return status;
}
