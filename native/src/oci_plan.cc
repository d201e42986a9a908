#include "oci_plan.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "oci_mounts.h"
#include "oci_process.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

json Parse(const std::string& text, const char* what) {
  json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) throw InvalidInput(what, "is not a JSON object");
  return parsed;
}

void RefuseUnsupported(const json& config) {
  const json& linux = ObjectOr(config, "linux");
  for (const auto& [kind, hooks] : ObjectOr(config, "hooks").items()) {
    if (!hooks.empty()) throw InvalidInput("hooks." + kind, "hooks are not run by this core");
  }
  for (const char* key : {"seccomp", "intelRdt", "personality", "timeOffsets"}) {
    const auto found = linux.find(key);
    if (found != linux.end() && !found->is_null() && !found->empty()) {
      throw InvalidInput(std::string("linux.") + key, "is not supported by this core yet");
    }
  }
  for (const char* key : {"uidMappings", "gidMappings"}) {
    if (!ArrayOr(linux, key).empty())
      throw InvalidInput(std::string("linux.") + key, "user namespaces are not supported yet");
  }
  if (!TextOr(linux, "mountLabel", "").empty())
    throw InvalidInput("linux.mountLabel", "is not supported by this core yet");
}

/** The namespaces asked for; pid, mount, uts, ipc and cgroup are always the container's own. */
void PlanNamespaces(PlanWriter& plan, const json& linux) {
  uint64_t flags = 0;
  bool cgroup = false;
  for (const json& item : ArrayOr(linux, "namespaces")) {
    const std::string type = TextOr(item, "type", ""), path = TextOr(item, "path", "");
    const std::string field = "linux.namespaces." + type;
    if (type == "network" && !path.empty()) {
      plan.Op(PLAN_NETNS, field).Text(path);
      continue;
    }
    if (!path.empty()) throw InvalidInput(field, "joining a namespace by path is supported for network only");
    if (type == "pid")
      flags |= CLONE_NEWPID;
    else if (type == "mount")
      flags |= CLONE_NEWNS;
    else if (type == "uts")
      flags |= CLONE_NEWUTS;
    else if (type == "ipc")
      flags |= CLONE_NEWIPC;
    else if (type == "network")
      flags |= CLONE_NEWNET;
    else if (type == "cgroup")
      cgroup = true;
    else
      throw InvalidInput(field, "is not supported by this core yet");
  }
  const uint64_t always = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
  if ((flags & always) != always || !cgroup) {
    throw InvalidInput("linux.namespaces",
                       "pid, mount, uts, ipc and cgroup are needed; sharing the host's is not supported yet");
  }
  plan.Op(PLAN_CLONE_FLAGS).Number(flags);
}

void PlanLog(PlanWriter& plan, const CreateOptions& options) {
  plan.Op(PLAN_LOG).Text(options.log_path).Number(options.log_max_bytes).Number(options.log_files);
  plan.Number(static_cast<uint64_t>(options.log_format)).Number(options.log_buffer_bytes);
}

void PlanRoot(PlanWriter& plan, const json& config, const CreateOptions& options) {
  const std::string root = options.state_dir + "/root";
  plan.Op(PLAN_DIR).Text(root).Number(0755);
  if (options.layers.empty()) {
    const std::string path = TextOr(ObjectOr(config, "root"), "path", "");
    if (path.empty() || path[0] != '/') throw InvalidInput("root.path", "must be absolute");
    plan.Op(PLAN_ROOT_BIND, "root.path").Text(path);
  } else {
    if (options.layers.size() > 500) throw InvalidInput("layers", "there are more than the kernel's 500");
    for (const std::string& layer : options.layers) {
      if (layer.empty() || layer[0] != '/') throw InvalidInput("layers", "must be absolute folders");
    }
    const std::string upper = options.state_dir + "/upper", work = options.state_dir + "/work";
    plan.Op(PLAN_DIR).Text(upper).Number(0755).Op(PLAN_DIR).Text(work).Number(0700);
    plan.Op(PLAN_OVERLAY, "layers").Number(static_cast<uint64_t>(options.overlay_mode)).List(options.layers);
    plan.Text(upper)
        .Text(work)
        .Number(options.is_volatile ? 1 : 0)
        .Text(options.state_dir + "/links")
        .Text(root);
  }
  plan.Op(PLAN_ROOT_AT).Text(root);
}

void PlanPaths(PlanWriter& plan, const json& linux) {
  for (const auto& [key, value] : ObjectOr(linux, "sysctl").items()) {
    if (!value.is_string()) throw InvalidInput("linux.sysctl." + key, "must be text");
    plan.Op(PLAN_SYSCTL, "linux.sysctl").Text(SysctlPath(key)).Text(value.get<std::string>());
  }
  for (const std::string& path : TextsOr(linux, "maskedPaths"))
    plan.Op(PLAN_MASK, "linux.maskedPaths").Text(path);
  for (const std::string& path : TextsOr(linux, "readonlyPaths")) {
    plan.Op(PLAN_READONLY, "linux.readonlyPaths").Text(path);
  }
}

}  // namespace

std::string PlanContainer(const std::string& text, const CreateOptions& options, const CgroupLayout& layout,
                          const std::string& boot_id) {
  const json config = Parse(text, "config");
  const json& linux = ObjectOr(config, "linux");
  const json& process = ObjectOr(config, "process");
  const std::string cgroup = TextOr(linux, "cgroupsPath", "");
  if (cgroup.size() < 2 || cgroup[0] != '/' || cgroup.find("..") != std::string::npos) {
    throw InvalidInput("linux.cgroupsPath", "must be an absolute path below the root cgroup");
  }
  RefuseUnsupported(config);
  if (FlagOr(process, "terminal", false))
    throw InvalidInput("process.terminal", "terminals are not supported yet");
  PlanWriter plan;
  plan.Op(PLAN_STATE_DIR).Text(options.state_dir);
  plan.Op(PLAN_BOOT_ID).Text(boot_id);
  PlanLog(plan, options);
  PlanNamespaces(plan, linux);
  PlanCgroup(plan, layout, cgroup, ObjectOr(linux, "resources"));
  const std::string hostname = TextOr(config, "hostname", ""), domain = TextOr(config, "domainname", "");
  if (!hostname.empty()) plan.Op(PLAN_HOSTNAME, "hostname").Text(hostname);
  if (!domain.empty()) plan.Op(PLAN_DOMAINNAME, "domainname").Text(domain);
  PlanRoot(plan, config, options);
  PlanMounts(plan, config, layout, cgroup);
  PlanPaths(plan, linux);
  if (FlagOr(ObjectOr(config, "root"), "readonly", false)) plan.Op(PLAN_ROOT_READONLY);
  // The score is set through the host's /proc, which the pivot leaves behind.
  PlanOomScore(plan, process);
  plan.Op(PLAN_PIVOT);
  PlanProcess(plan, process);
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
  if (layout.unified) {
    plan.Op(PLAN_CGROUP_UNIFIED).Text(tree + "/" + name);
  } else {
    for (const std::string& folder : layout.FoldersOf(options.cgroup)) {
      plan.Op(PLAN_CGROUP_TASKS).Text(folder == tree ? folder + "/" + name + "/tasks" : folder + "/tasks");
    }
  }
  PlanProcess(plan, Parse(text, "process"));
  return plan.Finish();
}

}  // namespace covey
