#include "oci_plan.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "mount_options.h"
#include "oci_attributes.h"
#include "oci_cut.h"
#include "oci_mounts.h"
#include "oci_process.h"
#include "oci_reader.h"
#include "oci_refused.h"

namespace covey {
namespace {

using nlohmann::json;

json Parse(const std::string& text, const char* what) {
  json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) throw InvalidInput(what, "is not a JSON object");
  return parsed;
}

/** A config whose system call filter is known by its text; without one, as far as that text goes. */
struct KnownConfig {
  json config;
  std::shared_ptr<const SeccompFilter> filter;
};

KnownConfig ParseKnown(const std::string& text) {
  if (const std::optional<CutConfig> cut = CutSeccomp(text)) {
    if (auto filter = SeccompForText(cut->seccomp)) return {Parse(cut->rest, "config"), std::move(filter)};
  }
  return {Parse(text, "config"), nullptr};
}

void PlanLog(PlanWriter& plan, const CreateOptions& options) {
  plan.Op(PLAN_LOG).Text(options.log_path).Number(options.log_max_bytes).Number(options.log_files);
  plan.Number(static_cast<uint64_t>(options.log_format)).Number(options.log_buffer_bytes);
}

void PlanRestart(PlanWriter& plan, const RestartInPlace& restart) {
  if (restart.condition == RESTART_NONE) return;
  plan.Op(PLAN_RESTART).Number(restart.condition).Number(restart.delay_ms).Number(restart.attempts);
  plan.Number(restart.window_ms).Number(restart.used).Number(restart.hold_ms);
}

void PlanRoot(PlanWriter& plan, const json& config, const Namespaces& namespaces,
              const CreateOptions& options) {
  const uint64_t outside = namespaces.ids() ? 1 : 0;
  // An overlay lies over its own upper folder, which needs no other place: each folder more is an inode more on disk.
  const std::string root = options.state_dir + (options.layers.empty() ? "/root" : "/upper");
  if (options.layers.empty()) {
    plan.Op(PLAN_DIR).Text(root).Number(0755);
    const std::string path = TextOr(ObjectOr(config, "root"), "path", "");
    if (path.empty() || path[0] != '/') throw InvalidInput("root.path", "must be absolute");
    plan.Op(PLAN_ROOT_BIND, "root.path").Text(path).Number(outside);
  } else {
    if (options.layers.size() > PLAN_LAYERS_MAX)
      throw InvalidInput("layers", "there are more than the kernel's 500");
    for (const std::string& layer : options.layers) {
      if (layer.empty() || layer[0] != '/') throw InvalidInput("layers", "must be absolute folders");
    }
    const std::string upper = options.state_dir + "/upper", work = options.state_dir + "/work";
    // The layers are shown through the container's ids, what it writes is stored under the host's ids for them.
    plan.Op(PLAN_DIR).Text(upper).Number(0755);
    plan.Number(namespaces.HostUid(0, "linux.uidMappings"))
        .Number(namespaces.HostGid(0, "linux.gidMappings"));
    plan.Op(PLAN_DIR).Text(work).Number(0700);
    plan.Op(PLAN_OVERLAY, "layers").Number(static_cast<uint64_t>(options.overlay_mode)).List(options.layers);
    plan.Text(upper)
        .Text(work)
        .Number(options.is_volatile ? 1 : 0)
        .Text(options.state_dir + "/links")
        .Text(root)
        .Number(outside);
  }
  plan.Op(PLAN_ROOT_AT).Text(root);
}

void PlanPaths(PlanWriter& plan, const json& linux, const Namespaces& namespaces) {
  for (const auto& [key, value] : ObjectOr(linux, "sysctl").items()) {
    if (!value.is_string()) throw InvalidInput("linux.sysctl." + key, "must be text");
    const std::string path = SysctlPath(key, namespaces);
    // Its file belongs to the host's root, but its system call asks for the uts namespace's.
    if (path == "kernel/domainname")
      plan.Op(PLAN_DOMAINNAME, "linux.sysctl").Text(value.get<std::string>());
    else
      plan.Op(PLAN_SYSCTL, "linux.sysctl").Text(path).Text(value.get<std::string>());
  }
  for (const std::string& path : TextsOr(linux, "maskedPaths"))
    plan.Op(PLAN_MASK, "linux.maskedPaths").Text(path);
  for (const std::string& path : TextsOr(linux, "readonlyPaths")) {
    plan.Op(PLAN_READONLY, "linux.readonlyPaths").Text(path);
  }
}

uint64_t RootPropagation(const json& linux) {
  const std::string text = TextOr(linux, "rootfsPropagation", "");
  const uint64_t propagation = PropagationOf(text);
  if (propagation == 0 && !text.empty())
    throw InvalidInput("linux.rootfsPropagation",
                       "must be private, slave, shared or unbindable, with or without an r");
  return propagation;
}

/**
 * Whether the first process gets a root of its own in a mount namespace that is not. Only the OCI command line makes such
 * containers: they are no more closed than their config says, but that is little.
 */
bool ChangesRoot(PlanWriter& plan, const Namespaces& namespaces, const CreateOptions& options) {
  if (namespaces.Makes(CLONE_NEWNS)) return false;
  if (!options.leave && namespaces.Shares(CLONE_NEWNS))
    throw InvalidInput("linux.namespaces", "mount is needed: a container's mounts are not the host's");
  if (!options.leave || namespaces.ids()) return false;
  plan.Op(PLAN_CHROOT);
  return true;
}

/** Whoever the process runs as may open its own /dev/stdout again; also checks that its ids exist inside. */
void PlanStdioOwner(PlanWriter& plan, const json& process, const Namespaces& namespaces) {
  const json& user = ObjectOr(process, "user");
  const auto id = [&](const char* key) { return static_cast<uint32_t>(NumberOr(user, key, 0)); };
  const uint32_t uid = namespaces.HostUid(id("uid"), "process.user.uid");
  const uint32_t gid = namespaces.HostGid(id("gid"), "process.user.gid");
  for (const json& extra : ArrayOr(user, "additionalGids")) {
    if (extra.is_number_unsigned()) namespaces.HostGid(extra.get<uint32_t>(), "process.user.additionalGids");
  }
  plan.Op(PLAN_STDIO_OWNER).Number(uid).Number(gid);
}

}  // namespace

std::string PlanContainer(const std::string& text, const CreateOptions& options, const CgroupLayout& layout,
                          const std::string& boot_id) {
  const KnownConfig known = ParseKnown(text);
  return PlanParsed(known.config, options, layout, boot_id, known.filter);
}

std::string PlanParsed(const json& config, const CreateOptions& options, const CgroupLayout& layout,
                       const std::string& boot_id, const std::shared_ptr<const SeccompFilter>& filter) {
  const json& linux = ObjectOr(config, "linux");
  const json& process = ObjectOr(config, "process");
  const std::string cgroup = TextOr(linux, "cgroupsPath", "");
  if (cgroup.size() < 2 || cgroup[0] != '/' || cgroup.find("..") != std::string::npos) {
    throw InvalidInput("linux.cgroupsPath", "must be an absolute path below the root cgroup");
  }
  RefuseUnsupported(config, options.leave.has_value());
  PlanWriter plan;
  plan.Op(PLAN_STATE_DIR).Text(options.state_dir);
  plan.Op(PLAN_BOOT_ID).Text(boot_id);
  const bool hooks_before_pivot = options.leave && PlanLeave(plan, config, *options.leave);
  if (!options.leave) PlanLog(plan, options);
  if (options.input) plan.Op(PLAN_STDIN).Number(options.input_once ? 1 : 0);
  PlanRestart(plan, options.restart);
  const Namespaces namespaces(config);
  namespaces.Plan(plan, layout, cgroup);
  const bool changes_root = ChangesRoot(plan, namespaces, options);
  if (namespaces.ids() || HasSharedMounts(config)) plan.Op(PLAN_OUTSIDE);
  PlanCgroup(plan, layout, cgroup, ObjectOr(linux, "resources"));
  const std::string hostname = TextOr(config, "hostname", ""), domain = TextOr(config, "domainname", "");
  if (!hostname.empty()) plan.Op(PLAN_HOSTNAME, "hostname").Text(hostname);
  if (!domain.empty()) plan.Op(PLAN_DOMAINNAME, "domainname").Text(domain);
  PlanStdioOwner(plan, process, namespaces);
  // Source: config.md, process.oomScoreAdj: what is not given is not changed. The shim's own score is its caller's.
  const bool sets_score = !options.leave || process.contains("oomScoreAdj");
  if (namespaces.Joins(CLONE_NEWNS) && !changes_root) {
    RefuseTree(config);
    if (sets_score) PlanOomScore(plan, process);
    PlanLabels(plan, process, linux);
    if (hooks_before_pivot) plan.Op(PLAN_HOOKS);
  } else {
    PlanRoot(plan, config, namespaces, options);
    PlanMounts(plan, config, namespaces, layout, cgroup);
    PlanPaths(plan, linux, namespaces);
    if (FlagOr(ObjectOr(config, "root"), "readonly", false)) plan.Op(PLAN_ROOT_READONLY);
    PlanTerminal(plan, process);
    // Score and label are set through the host's /proc, which the pivot leaves behind.
    if (sets_score) PlanOomScore(plan, process);
    PlanLabels(plan, process, linux);
    if (hooks_before_pivot) plan.Op(PLAN_HOOKS);
    plan.Op(PLAN_PIVOT).Number(RootPropagation(linux)).Number(changes_root ? 1 : 0);
  }
  if (!process.empty() || !options.leave) PlanProcess(plan, process, linux, options.reaper, filter);
  return plan.Finish();
}

std::string PlanExec(const std::string& text, const ExecOptions& options, const CgroupLayout& layout) {
  PlanWriter plan;
  uint64_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random) random = static_cast<uint64_t>(time(nullptr));
  const std::string name = "exec-" + std::to_string(random);
  const std::string tree_controller = "freezer";
  const std::string tree = layout.FolderOf(tree_controller, options.cgroup);
  if (tree.empty()) throw InvalidInput("cgroup", "this host has no freezer controller");
  plan.Op(PLAN_TREE_DIR).Text(tree).Text(name);
  plan.Op(PLAN_TIMEOUT).Number(options.timeout_ms);
  plan.Op(PLAN_OUTPUT_MAX).Number(options.output_max);
  if (options.stream) {
    unsigned flags = 0;
    plan.Op(PLAN_STDIO_OWNER).Number(options.stream->owner_uid).Number(0);
    if (options.stream->terminal) flags |= STREAM_TERMINAL;
    if (options.stream->detached) flags |= STREAM_DETACHED;
    plan.Op(PLAN_STREAM).Number(flags).Number(options.stream->rows).Number(options.stream->columns);
  }
  if (layout.unified) {
    plan.Op(PLAN_CGROUP_UNIFIED).Text(tree + "/" + name);
  } else {
    for (const std::string& folder : layout.FoldersOf(options.cgroup)) {
      plan.Op(PLAN_CGROUP_TASKS).Text(folder == tree ? folder + "/" + name + "/tasks" : folder + "/tasks");
    }
  }
  const KnownConfig known = ParseKnown(text);
  const json& process = ObjectOr(known.config, "process");
  const json& linux = ObjectOr(known.config, "linux");
  PlanExecAffinity(plan, process);
  PlanOomScore(plan, process);
  PlanLabels(plan, process, linux);
  PlanProcess(plan, process, linux, false, known.filter);
  if (options.privileged) PlanEveryCapability(plan);
  return plan.Finish();
}

}  // namespace covey
