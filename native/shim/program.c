#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "attributes.h"
#include "cwd.h"
#include "sys.h"
#include "texts.h"

#define KEYCTL_JOIN_SESSION_KEYRING_ 1

// Of the kernel's own choosing when PATH is not set. Source: execvp(3), Docker's default.
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int set_limit(const struct plan_record* record, struct failure* failure) {
  struct rlimit limit = {.rlim_cur = plan_number(record, 1), .rlim_max = plan_number(record, 2)};
  if (setrlimit((int)plan_number(record, 0), &limit) == 0) return 0;
  return failed(failure, "setting a resource limit", "setrlimit", plan_text(record, 3));
}

int program_step(struct program* p, const struct plan_record* record, struct failure* failure) {
  switch (record->op) {
    case PLAN_RLIMIT:
      return set_limit(record, failure);
    case PLAN_OOM_SCORE:
      return attribute_oom_score(record, failure);
    case PLAN_NO_NEW_PRIVS:
      return p->no_new_privs = 1, 0;
    case PLAN_CWD:
      return p->cwd = plan_text(record, 0), 0;
    case PLAN_ENV:
      return p->env = plan_texts(&record->field[0]), 0;
    case PLAN_ARGS:
      return p->args = plan_texts(&record->field[0]), 0;
    case PLAN_USER:
      p->uid = (uint32_t)plan_number(record, 0);
      p->gid = (uint32_t)plan_number(record, 1);
      p->umask = (uint32_t)plan_number(record, 2);
      p->gids = plan_text(record, 3);
      p->gid_count = record->field[3].length / sizeof(uint32_t);
      return 0;
    case PLAN_CAPS:
      p->bounding = plan_number(record, 0);
      p->effective = plan_number(record, 1);
      p->permitted = plan_number(record, 2);
      p->inheritable = plan_number(record, 3);
      p->ambient = plan_number(record, 4);
      return 0;
    case PLAN_SECCOMP:
      p->filter_flags = (uint32_t)plan_number(record, 0);
      return p->filter = record->field[1], 0;
    case PLAN_REAPER:
      return p->reaper = 1, 0;
    default:
      return attribute_step(record, failure);
  }
}

static int drop_bounding(uint64_t keep, struct failure* failure) {
  for (int cap = 0; cap < 64; cap++) {
    if (keep >> cap & 1) continue;
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
      if (errno == EINVAL) return 0;  // beyond the last one this kernel knows
      return failed(failure, "dropping capabilities", "prctl", "PR_CAPBSET_DROP");
    }
  }
  return 0;
}

static int set_user(const struct program* p, struct failure* failure) {
  static const char step[] = "becoming the user";
  char who[32];
  snprintf(who, sizeof who, "%u:%u", p->uid, p->gid);
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return failed(failure, step, "prctl", "PR_SET_KEEPCAPS");
  if (setgroups(p->gid_count, (const gid_t*)(const void*)p->gids) != 0)
    return failed(failure, step, "setgroups", who);
  if (setresgid(p->gid, p->gid, p->gid) != 0) return failed(failure, step, "setresgid", who);
  if (setresuid(p->uid, p->uid, p->uid) != 0) return failed(failure, step, "setresuid", who);
  // New ids make a process what fs.suid_dumpable says; one with the host's memory is nobody's to trace.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return failed(failure, step, "prctl", "PR_SET_DUMPABLE");
  return 0;
}

static int held_capabilities(uint64_t* held, struct failure* failure) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct sets[2];
  if (syscall(SYS_capget, &header, sets) != 0) return failed(failure, "setting capabilities", "capget", "");
  *held = sets[0].permitted | (uint64_t)sets[1].permitted << 32;
  return 0;
}

int set_capabilities(const struct program* p, uint64_t also_permitted, uint64_t also_effective,
                     struct failure* failure) {
  static const char step[] = "setting capabilities";
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct sets[2];
  uint64_t held = 0;
  if (held_capabilities(&held, failure) != 0) return -1;
  uint64_t permitted = (p->permitted | also_permitted) & held;
  uint64_t effective = (p->effective | also_effective) & permitted;
  uint64_t inheritable = p->inheritable & held, ambient = p->ambient & p->permitted & inheritable;
  for (int i = 0; i < 2; i++) {
    sets[i].effective = (uint32_t)(effective >> (32 * i));
    sets[i].permitted = (uint32_t)(permitted >> (32 * i));
    sets[i].inheritable = (uint32_t)(inheritable >> (32 * i));
  }
  if (syscall(SYS_capset, &header, sets) != 0) return failed(failure, step, "capset", "");
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int cap = 0; cap < 64; cap++) {
    if (!(ambient >> cap & 1)) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
      return failed(failure, step, "prctl", "ambient");
  }
  return 0;
}

/** 0 when `path` is a file this user may run. */
static int runnable(const char* path) {
  struct stat st;
  if (stat(path, &st) != 0) return -1;
  if (S_ISDIR(st.st_mode)) return errno = EISDIR, -1;
  // With the effective ids; access(2) would ask for the real ones, which are the same here, but ignores
  // AT_EACCESS.
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS);
}

static int find_command(struct program* p, struct failure* failure) {
  static const char step[] = "finding the command";
  const char* name = p->args && p->args[0] ? p->args[0] : "";
  if (*name == '\0') return failed_as(failure, EINVAL, step, "execve", "");
  if (strchr(name, '/')) {
    if (snprintf(p->file, sizeof p->file, "%s", name) >= (int)sizeof p->file)
      errno = ENAMETOOLONG;
    else if (runnable(p->file) == 0)
      return 0;
    return failed(failure, step, "execve", name);
  }
  const char* path = DEFAULT_PATH;
  for (char** env = p->env; env && *env; env++) {
    if (strncmp(*env, "PATH=", 5) == 0) path = *env + 5;
  }
  int error = ENOENT;
  for (const char* at = path;; at++) {
    int length = (int)strcspn(at, ":");
    int n = snprintf(p->file, sizeof p->file, "%.*s/%s", length, length ? at : ".", name);
    if (n < (int)sizeof p->file) {
      if (runnable(p->file) == 0) return 0;
      if (errno == EACCES || errno == EISDIR) error = EACCES;
    }
    at += length;
    if (*at == '\0') break;
  }
  return failed_as(failure, error, step, "execve", name);
}

/** Without one of its own a process would share its caller's, the host's. Kernels without keys have nothing to share. */
static int make_keyring(struct failure* failure) {
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING_, NULL) >= 0 || errno == ENOSYS) return 0;
  return failed(failure, "making a keyring", "keyctl", "");
}

int become(struct program* p, int make_cwd, struct failure* failure) {
  const char* cwd = p->cwd && *p->cwd ? p->cwd : "/";
  if (make_keyring(failure) != 0) return -1;
  if (make_cwd && cwd_make(cwd, failure) != 0) return -1;
  if (drop_bounding(p->bounding, failure) != 0) return -1;
  if (set_user(p, failure) != 0) return -1;
  if (cwd_enter(cwd, failure) != 0) return -1;
  // A filter without no_new_privs needs this one; it is given up with the filter in force.
  uint64_t kept = p->filter.length > 0 && !p->no_new_privs ? 1ull << CAP_SYS_ADMIN : 0;
  if (set_capabilities(p, kept, 0, failure) != 0) return -1;
  if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return failed(failure, "setting no_new_privs", "prctl", "PR_SET_NO_NEW_PRIVS");
  }
  umask(p->umask);
  return find_command(p, failure);
}
