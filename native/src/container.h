// Containers through their shims: made, started, recognised again, given one more command. Every function may block
// for as long as a disk does; none touches the main thread.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>

#include "fd.h"
#include "oci_plan.h"

namespace covey {

/** A container's first process and its shim; each pid with its start time. */
struct ContainerIdentity {
  pid_t pid = 0;
  uint64_t start_time = 0;
  pid_t shim_pid = 0;
  uint64_t shim_start_time = 0;
  /** "created" or "running"; what ended is told by exit.json, not from here. */
  std::string life;
  /** From 1; grows when the shim runs the container again while no agent attends. */
  uint32_t run = 1;
};

/**
 * A container that is commanded by us while `connection` lasts; a shim of version 1 knows of no such thing (empty). On it comes
 * what the shim has to say unasked: control.c, "ended".
 */
struct Attendance {
  ContainerIdentity identity;
  Fd connection;
};

/** A container on its way: its shim, a child of ours, answers on `door` (SEQPACKET, non-blocking). */
struct NewContainer {
  Fd door;
  pid_t shim = 0;
  std::string state_dir;
};

/**
 * Begins to make a container up to, but not including, exec: namespaces, cgroups, root file system, user, command found.
 * Its first process then waits to be started, and its network namespace can be furnished meanwhile. On failure
 * everything but the folder `state_dir` is undone. Throws SysError, InvalidInput.
 */
NewContainer BeginContainer(const std::string& config, const CreateOptions& options);

/** What its shim has answered. Throws SysError with the step inside the container that failed. */
ContainerIdentity UnderstandContainer(const std::string& answer);

/** Waits for the end of a shim that has made no container, then throws that, or by whom the shim was killed. */
[[noreturn]] void GiveUpContainer(pid_t shim, const std::exception_ptr& failure);

/**
 * Lets the command run; returns when exec has succeeded. The container is attended from then on while the connection lasts;
 * empty as with AttendContainer. Throws SysError (EALREADY, ENOENT when the shim is gone).
 */
Fd StartContainer(const std::string& state_dir);

/** As IdentifyContainer; and what follows an exit is decided by us while the connection lasts, not by the shim. */
std::optional<Attendance> AttendContainer(const std::string& state_dir);

/** Our ends of what a container says and is told. */
struct Listening {
  Fd io;   // stdout from it, and what is typed to it; with a terminal everything
  Fd err;  // stderr from it
  bool is_terminal = false;
  bool takes_input = false;
};

/**
 * Listens to a container from now on, and with `feeds` types. Throws SysError: ENOENT and ESRCH when it has ended, EBUSY when too many
 * listen, ENOSYS when its shim is older than this.
 */
Listening AttachContainer(const std::string& state_dir, bool feeds);

/** Sets the size of a container's terminal, each from 1. Throws SysError ENOTTY when it has none. */
void ResizeContainer(const std::string& state_dir, uint16_t rows, uint16_t columns);

/**
 * Who runs in `state_dir`, proved by this boot's id, the shim's start time and the shim's own answer. Nothing when
 * there is no live shim. Throws SysError when the shim answers what it must not.
 */
std::optional<ContainerIdentity> IdentifyContainer(const std::string& state_dir);

/** A command on its way: its helper answers on `answer`. */
struct ExecHandle {
  Fd answer;
  pid_t helper = 0;
};

struct ExecResult {
  int exit_code = 0;
  bool timed_out = false;
  std::string output;
};

/**
 * Starts a command in the container whose first process is (pid, start_time); `config` as PlanExec takes it. `stdio` become the helper's own, for a
 * command that streams; -1 = /dev/null. Throws SysError ESRCH when it is gone.
 */
ExecHandle StartExec(pid_t pid, uint64_t start_time, const std::string& config, const ExecOptions& options,
                     const std::string& shim_path, const std::array<int, 3>& stdio = {-1, -1, -1});

/** What the helper has answered, read to its end. Throws SysError with the step that failed. */
ExecResult ParseExecAnswer(const std::string& text);

/**
 * Takes the exit status of a child of ours, so that it is no zombie; a stranger's pid is no matter. False when it is still
 * there: it lives, and `wait` was not asked for.
 */
bool Reap(pid_t pid, bool wait);

/** Starts `covey-shim --hold`, which keeps a cgroup scope alive, and gives its pid. */
pid_t SpawnHolder(const std::string& shim_path);

}  // namespace covey
