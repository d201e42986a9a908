// The plan: what the addon tells the shim, compiled from an OCI config. Shared by C (the shim reads) and C++
// (the addon writes), so both sides change together; they also ship together, a plan is never stored.
//
// Layout, little-endian: u32 magic, u32 bytes of all records, then records { u16 op, u16 fields, u32 bytes }
// with fields { u32 length, bytes, NUL, padding to 4 }. A number is a field of 8 bytes; a list is one field
// of texts that each end in NUL. Settings come first in any order; operations of the first process follow in
// the order of execution.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PLAN_MAGIC 0x31565643u /* "CVV1" */
#define PLAN_BYTES_MAX (8u << 20)
#define PLAN_FIELDS_MAX 12
#define PLAN_FIELD_ALIGN 4
// The kernel's own limit. Source: fs/overlayfs, OVL_MAX_STACK.
#define PLAN_LAYERS_MAX 500

enum plan_op {
  // Settings, read by the shim.
  PLAN_STATE_DIR = 1,  // text folder
  PLAN_BOOT_ID,        // text
  PLAN_LOG,  // text path, number bytes a file, number files, number format, number bytes that may wait (0:
             // the container waits)
  PLAN_CLONE_FLAGS,     // number: the namespaces that are made
  PLAN_JOIN,            // text path, number flag: a namespace that is joined
  PLAN_DIR,             // text path, number mode, number uid, number gid: made when missing
  PLAN_CGROUP_DIR,      // text path: made, removed again when creating fails
  PLAN_CGROUP_WRITE,    // text path, text value, number plan_setting_mode, and where the kernel may lack the
                        // file: text other path, text other value
  PLAN_CGROUP_TASKS,    // text path of a v1 `tasks` file: the first process writes 0
  PLAN_CGROUP_UNIFIED,  // text folder: CLONE_INTO_CGROUP
  PLAN_CGROUP_DEVICES,  // bytes of a BPF_PROG_TYPE_CGROUP_DEVICE program; after PLAN_CGROUP_UNIFIED
  PLAN_OOM_FILE,        // text path of memory.oom_control or memory.events
  PLAN_TIMEOUT,         // number ms: exec only
  PLAN_OUTPUT_MAX,      // number bytes: exec only
  PLAN_TREE_DIR,  // text folder, text name: the cgroup made in it for the whole tree of the command: exec
                  // only
  PLAN_START_AFFINITY,  // bytes cpu mask: exec only, for the helper until the command is in its cgroup
  PLAN_ID_MAP,          // text "uid_map" or "gid_map", text lines: of a user namespace made or joined
  PLAN_OUTSIDE,         // some operations below are prepared by the shim with the host's rights
  PLAN_TIME_OFFSETS,    // text lines of timens_offsets: a time namespace is made
  PLAN_STDIO_OWNER,     // number uid, number gid, in the host's numbering
  PLAN_KILL_DIR,        // text cgroup folder: killed with the first process, which is not the first of its
                        // pid namespace
  PLAN_STREAM,  // number flags, number rows, number columns: the command's streams are the caller's: exec only
  PLAN_LEAVE,   // number descriptors after the door, number 1 when the first of them is the console socket
  PLAN_HOOK_STATE,  // text state while creating, text state when created: JSON up to the pid
  PLAN_HOOK,        // number stage, text path, list args, list env, number timeout ms (0 = none)
  PLAN_RESTART,  // number condition, number delay ms, number attempts (0: no limit), number window ms (0: no end),
                 // number attempts used, number ms without an agent before the first
  PLAN_CHROOT,  // the mount namespace is joined before the mounts, or the host's: the root is changed for the
                // first process and for commands, not for the namespace
  PLAN_STDIN,  // number 1: ends with the first listener that has no more to type. The first process reads what is
               // typed; without this, or with a terminal, it has no such pipe
  // Operations, run by the container's first process.
  PLAN_OVERLAY = 64,  // number mode, list lower (topmost first), text upper, text work, number volatile, text
                      // links, text at, number outside
  PLAN_ROOT_BIND,     // text source, number outside
  PLAN_ROOT_AT,       // text folder the root is attached to; must precede every mount
  PLAN_MOUNT,     // text type, text source, text target, number attributes, list options, number propagation,
                  // number flags
  PLAN_BIND,      // text source, text target, number set, number clear, number flags, number propagation,
                  // number set below, number clear below, text uid_map, text gid_map
  PLAN_NODE,      // text path, number mode, number major, number minor, number uid, number gid
  PLAN_LINK,      // text target, text path
  PLAN_SYSCTL,    // text path below proc/sys, text value
  PLAN_MASK,      // text path
  PLAN_READONLY,  // text path
  PLAN_REMOUNT,   // text path, number set, number clear, number set below, number clear below
  PLAN_ROOT_READONLY,  //
  PLAN_HOSTNAME,       // text
  PLAN_DOMAINNAME,     // text
  PLAN_LABEL,  // text folder below attr ("" or "apparmor"), text value: for the next exec; needs the host's /proc
  PLAN_TERMINAL,      // number rows, number columns: the first process gets a terminal, dev/console is it
  PLAN_HOOKS,         // the hooks up to createContainer run now
  PLAN_PIVOT,         // number propagation of the root afterwards (0 = private), number 1 = chroot
  PLAN_RLIMIT,        // number resource, number soft, number hard, text name
  PLAN_OOM_SCORE,     // number
  PLAN_USER,          // number uid, number gid, number umask, bytes u32 gids
  PLAN_CAPS,          // numbers bounding, effective, permitted, inheritable, ambient
  PLAN_NO_NEW_PRIVS,  //
  PLAN_SCHEDULER,     // numbers policy, flags, nice, priority, runtime, deadline, period
  PLAN_IO_PRIORITY,   // number as ioprio_set takes it
  PLAN_PERSONALITY,   // number
  PLAN_AFFINITY,      // bytes cpu mask: exec only, for the command itself
  PLAN_SECCOMP,       // number flags, bytes BPF program: the last thing before exec
  PLAN_REAPER,        // the first process stays as init and runs the command as its child
  PLAN_CWD,           // text
  PLAN_ENV,           // list
  PLAN_ARGS           // list
};

/** What a failure of PLAN_CGROUP_WRITE means; src/cgroup_resources.h says why. */
enum plan_setting_mode { SETTING_MUST = 0, SETTING_OPTIONAL = 1, SETTING_VERIFIED = 2 };

/** When PLAN_RESTART runs a container again; restart.h. */
enum plan_restart_condition { RESTART_NONE = 0, RESTART_ON_FAILURE = 1, RESTART_ANY = 2 };

/** How PLAN_LOG writes; log.h. */
enum plan_log_format { LOG_TEXT = 0, LOG_JSON = 1, LOG_NONE = 2 };

/** How PLAN_OVERLAY mounts. */
enum plan_overlay_mode { OVERLAY_AUTO = 0, OVERLAY_FSCONFIG = 1, OVERLAY_MOUNT = 2 };

/** Flags of PLAN_BIND. BIND_IDMAP shows ids through the maps given, or through the container's own. */
enum plan_bind_flags { BIND_RECURSIVE = 1, BIND_OUTSIDE = 2, BIND_IDMAP = 4, BIND_IDMAP_RECURSIVE = 8 };

/** Flags of PLAN_MOUNT. */
enum plan_mount_flags { MOUNT_OUTSIDE = 1, MOUNT_COPY_UP = 2 };

/** Flags of PLAN_STREAM. `STREAM_DETACHED`: the command goes on without its caller. */
enum plan_stream_flags { STREAM_TERMINAL = 1, STREAM_DETACHED = 2 };

/** What the addon may send a streaming command after its plan. */
struct stream_order {
  uint16_t kind;
  uint16_t number;  // of a signal
  uint16_t rows;
  uint16_t columns;
};
enum stream_order_kind { STREAM_RESIZE = 1, STREAM_SIGNAL = 2, STREAM_DETACH = 3 };

/** When PLAN_HOOK runs: the first two in the runtime's namespaces, the others in the container's. */
enum plan_hook_stage { HOOK_PRESTART = 1, HOOK_CREATE_RUNTIME, HOOK_CREATE_CONTAINER, HOOK_START_CONTAINER };

struct plan_field {
  uint32_t length;  // without the closing NUL
  const char* at;
};

struct plan_record {
  uint16_t op;
  uint16_t count;
  struct plan_field field[PLAN_FIELDS_MAX];
};

struct plan {
  const char* at;
  const char* end;
};

/** 1 = a record, 0 = the end, -1 = broken. Never reads outside the plan; every field is NUL-terminated. */
int plan_next(struct plan* plan, struct plan_record* record);

/** The same for the next record of `op`; the others are passed by their length alone. */
int plan_find(struct plan* plan, enum plan_op op, struct plan_record* record);

/** The number in a field; 0 when the field is not there or not a number. */
uint64_t plan_number(const struct plan_record* record, unsigned index);

/** The text of a field; "" when it is not there. */
const char* plan_text(const struct plan_record* record, unsigned index);

/** The next text of a list, NULL at its end; `at` starts as NULL. */
const char* plan_each(const struct plan_field* list, const char* at);

#ifdef __cplusplus
}
#endif
