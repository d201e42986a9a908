#include "aside.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "sys.h"

int aside(uint64_t flags, int (*work)(void* with, struct aside* result), void* with, struct aside* result) {
  static const char step[] = "starting a process beside the shim";
  int status = 0;
  *result = (struct aside){.fd = -1};
  struct aside* shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return failed(&result->failure, step, "mmap", "");
  *shared = *result;
  struct clone_arguments args = {.flags = flags | CLONE_FILES, .exit_signal = SIGCHLD};
  int pid = sys_clone3(&args);
  if (pid == 0) _exit(work(with, shared) == 0 ? 0 : 1);
  if (pid < 0) {
    failed(&result->failure, step, "clone3", "");
    munmap(shared, sizeof *shared);
    return -1;
  }
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) continue;
  *result = *shared;
  munmap(shared, sizeof *shared);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  if (result->failure.error == 0) failed_as(&result->failure, ECHILD, step, "waitpid", "it died");
  return -1;
}
