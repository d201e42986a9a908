#include "outside.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "overlay.h"
#include "sources.h"
#include "sys.h"

// The kernel takes 253 descriptors a message. Source: unix(7), SCM_RIGHTS.
#define FDS_A_MESSAGE 250

static const char kHandOver[] = "handing mounts to the first process";

/** The mount of one record: 1 = made, 0 = not ours to make, -1 = failed. */
static int make(struct plan plan, const struct plan_record* record, int userns, int* fd,
                struct failure* failure) {
  *fd = -1;
  switch (record->op) {
    case PLAN_OVERLAY:
      if (!plan_number(record, 7)) return 0;
      return overlay_make(record, userns, fd, failure) == 0 ? 1 : -1;
    case PLAN_ROOT_BIND:
      if (!plan_number(record, 1)) return 0;
      *fd = source_root(record, failure);
      return *fd < 0 ? -1 : 1;
    case PLAN_MOUNT:
      if (!(plan_number(record, 6) & MOUNT_OUTSIDE)) return 0;
      *fd = strcmp(plan_text(record, 2), "/dev") == 0 ? source_devices(plan, record, failure)
                                                      : source_joined_file_system(plan, record, failure);
      return *fd < 0 ? -1 : 1;
    case PLAN_BIND:
      if (!(plan_number(record, 4) & BIND_OUTSIDE)) return 0;
      *fd = source_bind(record, userns, failure);
      return *fd < 0 ? -1 : 1;
    default:
      return 0;
  }
}

int outside_make(struct plan plan, int userns, struct outside* made, struct failure* failure) {
  struct plan_record record;
  made->count = made->next = 0;
  for (struct plan rest = plan; plan_next(&rest, &record) == 1;) {
    int fd, outcome = make(plan, &record, userns, &fd, failure);
    if (outcome < 0) return -1;
    if (outcome == 0) continue;
    if (made->count == OUTSIDE_MAX) return failed_as(failure, E2BIG, kHandOver, "plan", "too many mounts");
    made->fds[made->count++] = fd;
  }
  return 0;
}

int outside_send(int door, struct outside* made, struct failure* failure) {
  unsigned sent = 0;
  // Also when there is nothing: the first process waits for the word that no more will come.
  do {
    unsigned count = made->count - sent < FDS_A_MESSAGE ? made->count - sent : FDS_A_MESSAGE;
    union {
      struct cmsghdr header;
      char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
    } control;
    char is_last = sent + count == made->count;
    struct iovec word = {.iov_base = &is_last, .iov_len = 1};
    struct msghdr message = {.msg_iov = &word, .msg_iovlen = 1};
    if (count > 0) {
      memset(&control, 0, sizeof control);
      message.msg_control = &control;
      message.msg_controllen = CMSG_SPACE(count * sizeof(int));
      struct cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(count * sizeof(int));
      memcpy(CMSG_DATA(header), made->fds + sent, count * sizeof(int));
    }
    if (sendmsg(door, &message, MSG_NOSIGNAL) < 0) {
      // It has given up: what it says of it comes next and is the better reason.
      if (errno == EPIPE || errno == ECONNRESET) break;
      return failed(failure, kHandOver, "sendmsg", "");
    }
    sent += count;
  } while (sent < made->count);
  for (unsigned i = 0; i < made->count; i++) close(made->fds[i]);
  made->count = 0;
  return 0;
}

static int receive(int door, struct outside* taken, char* is_last) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
  } control;
  struct iovec word = {.iov_base = is_last, .iov_len = 1};
  struct msghdr message = {
      .msg_iov = &word, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n;
  do n = recvmsg(door, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return -1;
  if (n == 0 || message.msg_flags & MSG_CTRUNC) return errno = EPROTO, -1;
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header) return 0;
  unsigned count = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  if (header->cmsg_type != SCM_RIGHTS || taken->count + count > OUTSIDE_MAX) return errno = EPROTO, -1;
  memcpy(taken->fds + taken->count, CMSG_DATA(header), count * sizeof(int));
  taken->count += count;
  return 0;
}

int outside_receive(int door, struct outside* taken, struct failure* failure) {
  taken->count = taken->next = 0;
  for (char is_last = 0; !is_last;) {
    if (receive(door, taken, &is_last) != 0) return failed(failure, kHandOver, "recvmsg", "");
  }
  return 0;
}

int outside_next(struct outside* taken) {
  if (taken->next == taken->count) return errno = EPROTO, -1;
  return taken->fds[taken->next++];
}
