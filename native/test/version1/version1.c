// The control socket's language of older versions, exactly as their programs spoke it: to hold newer ones against.
//
//   version1 shim FOLDER BOOT_ID COMMAND ARG…  an old shim: its container is COMMAND, without any isolation; starts it when
//                                              told, records its exit, ends
//   version1 agent FOLDER WORDS…               an old agent: says "covey 1 WORDS", prints the answer
//   version1 attend FOLDER                     an agent of version 2: attends, prints the answer, and stays until its stdin ends
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char* what) {
  perror(what);
  return 1;
}

static struct sockaddr_un address_in(int folder) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", folder);
  return address;
}

static unsigned long long start_time(pid_t pid) {
  char path[32], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  const char* at = strrchr(text, ')');
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

static int put(int folder, const char* name, const char* text) {
  int fd = openat(folder, ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) return -1;
  close(fd);
  return renameat(folder, ".new", folder, name);
}

struct old_shim {
  int folder, go;
  const char* boot_id;
  pid_t pid;
  unsigned long long since;
  const char* life;
};

static void answer(struct old_shim* shim, int client) {
  char text[128], reply[200] = "ok";
  ssize_t n = recv(client, text, sizeof text - 1, 0);
  if (n <= 0) {
    close(client);
    return;
  }
  text[n] = '\0';
  long version = 0;
  char verb[32] = "";
  int number = 0;
  sscanf(text, "covey %ld %31s %d", &version, verb, &number);
  if (strcmp(verb, "hello") == 0) {
    snprintf(reply, sizeof reply, "ok\n1\n%s\n%d\n%llu\n%s", shim->boot_id, shim->pid, shim->since,
             shim->life);
  } else if (strcmp(verb, "start") == 0) {
    if (write(shim->go, "g", 1) == 1) shim->life = "running";
  } else if (strcmp(verb, "signal") == 0) {
    kill(shim->pid, number);
  } else {
    snprintf(reply, sizeof reply, "error\n%d\nreading a request\nrecv\n%s", ENOSYS, verb);
  }
  if (send(client, reply, strlen(reply), MSG_NOSIGNAL) < 0) close(client);
}

static pid_t spawn(char** command, int* go) {
  int pipes[2];
  char word;
  if (pipe(pipes) != 0) return -1;
  pid_t pid = fork();
  if (pid != 0) return *go = pipes[1], pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close(pipes[1]);
  if (read(pipes[0], &word, 1) != 1) _exit(126);
  execv(command[0], command);
  _exit(127);
}

static int shim_main(const char* path, const char* boot_id, char** command) {
  struct old_shim shim = {
      .folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .boot_id = boot_id, .life = "created"};
  struct sockaddr_un address = address_in(shim.folder);
  char text[320];
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 4) != 0)
    return fail("control");
  shim.pid = spawn(command, &shim.go);
  if (shim.pid < 0) return fail("spawn");
  shim.since = start_time(shim.pid);
  snprintf(text, sizeof text,
           "{\"version\":1,\"bootId\":\"%s\",\"pid\":%d,\"startTime\":%llu,\"shimPid\":%d,\"shimStartTime\":%"
           "llu}\n",
           boot_id, shim.pid, shim.since, getpid(), start_time(getpid()));
  if (put(shim.folder, "state.json", text) != 0) return fail("state.json");
  struct pollfd polls[5] = {
      {.fd = listener, .events = POLLIN}, {.fd = -1}, {.fd = -1}, {.fd = -1}, {.fd = -1}};
  int status = 0;
  while (waitpid(shim.pid, &status, WNOHANG) == 0) {
    if (poll(polls, 5, 10) <= 0) continue;
    for (int i = 1; i < 5; i++) {
      if (!polls[i].revents) continue;
      answer(&shim, polls[i].fd);
      if (fcntl(polls[i].fd, F_GETFD) < 0) polls[i].fd = -1;
    }
    for (int i = 1; polls[0].revents && i < 5; i++) {
      if (polls[i].fd >= 0) continue;
      polls[i] = (struct pollfd){.fd = accept(listener, NULL, NULL), .events = POLLIN};
      break;
    }
  }
  const char* time = "2026-01-01T00:00:00.000000000Z";
  snprintf(text, sizeof text,
           "{\"code\":%d,\"signal\":null,\"oomKilled\":false,\"startedAt\":\"%s\",\"finishedAt\":\"%s\"}\n",
           WIFEXITED(status) ? WEXITSTATUS(status) : -1, time, time);
  if (put(shim.folder, "exit.json", text) != 0) return fail("exit.json");
  return unlinkat(shim.folder, "control", 0);
}

static int agent_main(const char* path, int version, const char* words) {
  char text[512];
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct sockaddr_un address = address_in(folder);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) return fail("connect");
  int n = snprintf(text, sizeof text, "covey %d %s", version, words);
  if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) return fail("send");
  ssize_t got = recv(fd, text, sizeof text, 0);
  if (got < 0) return fail("recv");
  if (fwrite(text, 1, (size_t)got, stdout) != (size_t)got || fflush(stdout) != 0) return 1;
  while (version > 1 && read(0, text, sizeof text) > 0) continue;
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 4 && strcmp(argv[1], "shim") == 0) return shim_main(argv[2], argv[3], argv + 4);
  if (argc > 3 && strcmp(argv[1], "agent") == 0) return agent_main(argv[2], 1, argv[3]);
  if (argc > 2 && strcmp(argv[1], "attend") == 0) return agent_main(argv[2], 2, "attend");
  return 64;
}
