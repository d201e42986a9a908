// An OCI runtime-spec config.json becomes a plan for the shim. Pure but for one look at this host's limits and cgroups.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cgroup.h"
#include "oci_leave.h"
#include "syscall_filter.h"

namespace covey {

/** Whether and when the shim runs a container again while no agent attends; plan.h, PLAN_RESTART. */
struct RestartInPlace {
  plan_restart_condition condition = RESTART_NONE;
  uint64_t delay_ms = 0;
  /** 0 = without limit. */
  uint64_t attempts = 0;
  /** 0 = the whole life. */
  uint64_t window_ms = 0;
  /** Of the attempts. */
  uint64_t used = 0;
  /** So long nobody must have attended. */
  uint64_t hold_ms = 0;
};

/** What a container needs beyond its config. Paths are absolute. */
struct CreateOptions {
  std::string id;
  /** The container's own folder; exists; everything of its run lies in it. */
  std::string state_dir;
  /** Layer folders, topmost first; empty = bind root.path. */
  std::vector<std::string> layers;
  int overlay_mode = OVERLAY_AUTO;
  /** No sync of the writable layer; it is lost with a crash of the host, as the container is. */
  bool is_volatile = true;
  /** The first process stays as an init that reaps, hands on signals and ends as the command does. */
  bool reaper = false;
  std::string log_path;
  uint64_t log_max_bytes = 0;
  uint32_t log_files = 0;
  plan_log_format log_format = LOG_TEXT;
  /** Bytes that may wait for the disk while the container goes on; 0 = it waits. */
  uint64_t log_buffer_bytes = 0;
  /** The command reads what listeners type; without it /dev/null. A terminal is typed into always. */
  bool input = false;
  /** The input ends with the first listener that has no more to type. */
  bool input_once = false;
  RestartInPlace restart;
  std::string shim_path;
  /** Set: hooks are run, stdio is inherited, a terminal goes to the console socket, and there may be no process yet. */
  std::optional<LeaveOptions> leave;
};

/** A command whose streams are its caller's; see PLAN_STREAM. Rows and columns of 0 leave the kernel's own. */
struct StreamWish {
  bool terminal = false;
  bool detached = false;
  uint16_t rows = 0;
  uint16_t columns = 0;
  /** The command's user in the host's numbering: pipes are given to it. */
  uint32_t owner_uid = 0;
};

/** How a command is run in a container that lives. */
struct ExecOptions {
  std::string cgroup;
  uint64_t timeout_ms = 0;
  uint64_t output_max = 0;
  /** Nothing: the output is captured. */
  std::optional<StreamWish> stream;
  /** Every capability this process has, instead of those of the config. */
  bool privileged = false;
};

/**
 * The plan of a whole container. Everything the core does not honour yet is refused by name, never ignored: a
 * container must not be less closed than its config says.
 * Throws InvalidInput with the field. Source: OCI runtime-spec 1.3, config.md and config-linux.md.
 */
std::string PlanContainer(const std::string& config, const CreateOptions& options, const CgroupLayout& layout,
                          const std::string& boot_id);
/** The same of a config that was parsed already. `filter`: instead of linux.seccomp, which is absent then. */
std::string PlanParsed(const nlohmann::json& config, const CreateOptions& options, const CgroupLayout& layout,
                       const std::string& boot_id,
                       const std::shared_ptr<const SeccompFilter>& filter = nullptr);

/**
 * The plan of one more command. Of `config`, an OCI config, the `process` is what is run; of its `linux` only what
 * belongs to a process is taken: seccomp, personality. Throws InvalidInput.
 */
std::string PlanExec(const std::string& config, const ExecOptions& options, const CgroupLayout& layout);

}  // namespace covey
