#include "template.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "shim.h"
#include "sys.h"

/** A request with its descriptor, the shim's door. The bytes, 0 at the end, or -1. */
static ssize_t take(struct template_request* request, int* door) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec whole = {.iov_base = request, .iov_len = sizeof *request};
  struct msghdr message = {
      .msg_iov = &whole, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n;
  *door = -1;
  do n = recvmsg(DOOR, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  struct cmsghdr* header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(door, CMSG_DATA(header), sizeof(int));
  return n;
}

/** In place of our own arguments, for people who look at ps. */
static void name(char** argv, const char* id) {
  const char* end = argv[TEMPLATE_ROOM] + strlen(argv[TEMPLATE_ROOM]);
  size_t room = (size_t)(end - argv[1]), length = strnlen(id, TEMPLATE_ID_MAX);
  if (length > room) length = room;
  memset(argv[1], 0, room);
  memcpy(argv[1], id, length);
}

int template_main(char** argv) {
  struct template_request request;
  ssize_t n;
  int door;
  harden("covey-template");
  while ((n = take(&request, &door)) != 0) {
    if (n != sizeof request || door < 0) return 125;
    // A child of the addon's process, like us: it is who learns of its end.
    struct clone_arguments args = {.flags = CLONE_PARENT};
    int pid = sys_clone3(&args);
    if (pid == 0) {
      name(argv, request.id);
      if (dup2(door, DOOR) < 0 || close(door) != 0) _exit(125);
      return TEMPLATE_COPY;
    }
    struct template_reply reply = {.ticket = request.ticket, .pid = pid, .error = pid < 0 ? errno : 0};
    close(door);
    if (send(DOOR, &reply, sizeof reply, MSG_NOSIGNAL) < 0) return 0;
  }
  return 0;
}
