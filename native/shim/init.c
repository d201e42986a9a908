#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "attributes.h"
#include "cgroup.h"
#include "descriptors.h"
#include "fault.h"
#include "mounts.h"
#include "namespaces.h"
#include "outside.h"
#include "program.h"
#include "sources.h"
#include "sys.h"
#include "terminal.h"

static _Noreturn void give_up(int door, const struct failure* failure) {
  if (write(door, failure, sizeof *failure) < 0) _exit(126);
  _exit(127);
}

static int loopback_up(struct failure* failure) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0)
    return failed(failure, "raising the loopback", "ioctl", "lo");
  close(fd);
  return 0;
}

static int enter_cgroups(const struct init_start* start, struct failure* failure) {
  char word;
  // Without word the shim is gone, and nobody is left to tell.
  if (start->late && read(start->door, &word, 1) != 1) _exit(126);
  if (cgroup_enter(start->plan, failure) != 0) return -1;
  // The cgroup namespace is rooted where its maker is, so it is made after entering, never by clone3.
  if (start->made & CLONE_NEWCGROUP && unshare(CLONE_NEWCGROUP) != 0)
    return failed(failure, "making the cgroup namespace", "unshare", "");
  return 0;
}

static int enter_namespaces(const struct init_start* start, struct failure* failure) {
  if (setsid() < 0 && errno != EPERM) return failed(failure, "making a session", "setsid", "");
  if (!start->joined && namespaces_join(start->plan, failure) != 0) return -1;
  if (start->late && unshare((int)start->late) != 0)
    return failed(failure, "making the namespaces", "unshare", "");
  if (start->made & CLONE_NEWNET && loopback_up(failure) != 0) return -1;
  if (namespaces_offset_time(start->plan, failure) != 0) return -1;
  if (start->made & CLONE_NEWNS && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
    return failed(failure, "detaching mounts", "mount", "/");
  if (enter_cgroups(start, failure) != 0) return -1;
  return start->chroots ? namespaces_join_mount(start->plan, failure) : 0;
}

/**
 * Becomes the container's root. Until here we were the host's: the folders on the way to the root file system, the
 * cgroups and our own files in /proc are only open to it.
 */
static int become_root(struct failure* failure) {
  static const char step[] = "becoming root of the user namespace";
  if (setgroups(0, NULL) != 0) return failed(failure, step, "setgroups", "");
  if (setresgid(0, 0, 0) != 0) return failed(failure, step, "setresgid", "0");
  if (setresuid(0, 0, 0) != 0) return failed(failure, step, "setresuid", "0");
  return 0;
}

/** Through the host's /proc, which the pivot leaves behind. */
static int label_self(const struct plan_record* record, struct failure* failure) {
  int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0) return failed(failure, "setting the security label", "open", "/proc");
  int outcome = attribute_label(proc, record, failure);
  close(proc);
  return outcome;
}

/** The first process' terminal, of the devpts that was just mounted. */
static int open_terminal(int root, struct terminal* terminal, const struct plan_record* size,
                         struct failure* failure) {
  if (terminal_open(root, terminal, failure) != 0) return -1;
  if (terminal_resize(terminal->master, plan_number(size, 0), plan_number(size, 1)) != 0)
    return failed(failure, "opening a terminal", "ioctl", "TIOCSWINSZ");
  return terminal_console(root, terminal, failure);
}

static int run_plan(struct init_start* start, struct program* program, struct terminal* terminal,
                    struct failure* failure) {
  static struct tree tree = TREE_EMPTY;
  tree.in_order = start->leave.on;
  struct plan plan = start->plan;
  struct plan_record record;
  int more;
  while ((more = plan_next(&plan, &record)) == 1) {
    const char* text = plan_text(&record, 0);
    // The shim tells when maps and mounts are there; the OOM score of a user namespace's process is its business too.
    if (record.op == PLAN_OUTSIDE && outside_receive(start->door, &tree.outside, failure) != 0) return -1;
    if (record.op < PLAN_OVERLAY || (start->mapped && record.op == PLAN_OOM_SCORE)) continue;
    int outcome = fault_at("init.step", failure);
    if (outcome != 0) return -1;
    if (record.op == PLAN_HOSTNAME) {
      outcome = sethostname(text, strlen(text));
      if (outcome != 0) failed(failure, "setting the hostname", "sethostname", text);
    } else if (record.op == PLAN_DOMAINNAME) {
      outcome = setdomainname(text, strlen(text));
      if (outcome != 0) failed(failure, "setting the domain name", "setdomainname", text);
    } else if (record.op == PLAN_LABEL) {
      outcome = label_self(&record, failure);
    } else if (record.op == PLAN_TERMINAL) {
      outcome = open_terminal(tree.root, terminal, &record, failure);
    } else if (record.op == PLAN_HOOKS) {
      outcome = leave_hooks_inside(start->plan, start->door, failure);
    } else if (record.op >= PLAN_RLIMIT) {
      outcome = program_step(program, &record, failure);
    } else {
      outcome = tree_step(&tree, &record, failure);
    }
    if (outcome != 0) return -1;
    if (record.op == PLAN_ROOT_AT && start->mapped && become_root(failure) != 0) return -1;
    // Others see this namespace too: what follows is not for their peers.
    if (record.op == PLAN_ROOT_AT && start->chroots && set_propagation(tree.root, MS_PRIVATE | MS_REC) != 0)
      return failed(failure, "attaching the root file system", "mount_setattr", text);
  }
  return more == 0 ? 0 : failed_as(failure, EBADMSG, "reading the plan", "plan", "");
}

/** stdin is /dev/null, stdout and stderr the pipes, unless there is a terminal; every other descriptor closes at exec.
 */
static int place_stdio(const struct init_start* start, const struct terminal* terminal,
                       struct failure* failure) {
  if (start->leave.on) return leave_place(&start->leave, terminal, failure);
  if (terminal->master < 0 &&
      ((start->in >= 0 && dup2(start->in, 0) < 0) || dup2(start->out, 1) < 0 || dup2(start->err, 2) < 0))
    return failed(failure, "placing stdio", "dup2", "");
  if (sys_close_range(3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) != 0)
    return failed(failure, "closing", "close_range", "");
  return 0;
}

static int close_the_hosts(const struct init_start* start, const struct terminal* terminal,
                           struct failure* failure) {
  struct kept kept = {.count = 0};
  keep(&kept, start->door);
  keep(&kept, start->out);
  keep(&kept, start->err);
  keep(&kept, start->in);
  keep(&kept, terminal->master);
  keep(&kept, terminal->peer);
  keep_for_leave(&kept, &start->leave);
  return close_others(&kept, failure);
}

static int wait_for_go(struct init_start* start, const struct program* program,
                       const struct terminal* terminal, struct failure* failure) {
  char go;
  if (start->leave.on) return leave_wait(&start->leave, start->plan, program, &start->door, failure);
  // After the last change of identity, which clears it: without the shim nobody would record the exit.
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  const int ends[] = {terminal->master, terminal->peer};
  if (send_descriptors(start->door, "r", 1, ends, terminal->master < 0 ? 0 : 2) != 0) _exit(126);
  if (read(start->door, &go, 1) != 1) _exit(126);
  return 0;
}

void init_main(struct init_start start) {
  static struct program program;
  struct terminal terminal = {.master = -1, .peer = -1};
  struct failure failure = {.error = 0};
  if (fault_at("init.born", &failure) != 0) give_up(start.door, &failure);
  if (enter_namespaces(&start, &failure) != 0) give_up(start.door, &failure);
  if (run_plan(&start, &program, &terminal, &failure) != 0) give_up(start.door, &failure);
  if (!start.chroots && namespaces_join_mount(start.plan, &failure) != 0) give_up(start.door, &failure);
  if (start.mapped && become_root(&failure) != 0) give_up(start.door, &failure);
  if (terminal.master >= 0 && terminal_enter(&terminal, program.uid, &failure) != 0)
    give_up(start.door, &failure);
  if (close_the_hosts(&start, &terminal, &failure) != 0) give_up(start.door, &failure);
  // Only the OCI command line may make a container without a process; it is never started.
  if ((program.args || !start.leave.on) && become(&program, 1, &failure) != 0) give_up(start.door, &failure);
  if (place_stdio(&start, &terminal, &failure) != 0) give_up(start.door, &failure);
  if (fault_at("init.placed", &failure) != 0) give_up(start.door, &failure);
  if (wait_for_go(&start, &program, &terminal, &failure) != 0) give_up(start.door, &failure);
  if (fault_at("init.go", &failure) != 0) give_up(start.door, &failure);
  program_run(&program, start.door, &failure);
  give_up(start.door, &failure);
}
