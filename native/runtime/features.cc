// features and spec: what this runtime can, and a config to start from. Source: OCI runtime-spec features.md, config.md.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "../src/fd.h"
#include "../src/mount_options.h"
#include "../src/oci_process.h"
#include "../src/sys_error.h"
#include "record.h"
#include "runtime.h"

namespace covey {
namespace {

using nlohmann::ordered_json;

ordered_json DefaultConfig() {
  const std::vector<std::string> capabilities = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  const auto mount = [](const char* at, const char* type, const char* source,
                        const std::vector<std::string>& options) {
    return ordered_json{{"destination", at}, {"type", type}, {"source", source}, {"options", options}};
  };
  ordered_json config;
  config["ociVersion"] = kSpecVersion;
  config["process"] = {
      {"terminal", true},
      {"user", {{"uid", 0}, {"gid", 0}}},
      {"args", {"sh"}},
      {"env", {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}},
      {"cwd", "/"},
      {"capabilities",
       {{"bounding", capabilities}, {"effective", capabilities}, {"permitted", capabilities}}},
      {"rlimits", ordered_json::array({{{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}}})},
      {"noNewPrivileges", true}};
  config["root"] = {{"path", "rootfs"}, {"readonly", true}};
  config["hostname"] = "covey";
  config["mounts"] = {
      mount("/proc", "proc", "proc", {}),
      mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      mount("/dev/pts", "devpts", "devpts",
            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
      mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
      mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"})};
  ordered_json& linux = config["linux"];
  linux["resources"]["devices"] = ordered_json::array({{{"allow", false}, {"access", "rwm"}}});
  for (const char* type : {"pid", "network", "ipc", "uts", "mount", "cgroup"})
    linux["namespaces"].push_back({{"type", type}});
  linux["maskedPaths"] = {"/proc/acpi",          "/proc/asound",     "/proc/kcore",       "/proc/keys",
                          "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                          "/sys/firmware",       "/proc/scsi"};
  linux["readonlyPaths"] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return config;
}

}  // namespace

int Features(const Runtime& runtime, const Arguments& arguments) {
  (void)runtime;
  if (!arguments.operands().empty()) throw UsageError("features takes no operand");
  ordered_json features;
  features["ociVersionMin"] = "1.0.0";
  features["ociVersionMax"] = kSpecVersion;
  features["hooks"] = {"prestart",       "createRuntime", "createContainer",
                       "startContainer", "poststart",     "poststop"};
  features["mountOptions"] = KnownMountOptions();
  ordered_json& linux = features["linux"];
  linux["namespaces"] = {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"};
  linux["capabilities"] = KnownCapabilities();
  linux["cgroup"] = {{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", false}, {"rdma", true}};
  linux["seccomp"]["enabled"] = true;
  linux["apparmor"]["enabled"] = true;
  linux["selinux"]["enabled"] = false;
  linux["intelRdt"]["enabled"] = false;
  linux["netDevices"]["enabled"] = false;
  linux["mountExtensions"]["idmap"]["enabled"] = true;
  features["annotations"]["org.covey.checkpoint.enabled"] = "false";
  Print(features.dump(2) + "\n");
  return 0;
}

int Spec(const Runtime& runtime, const Arguments& arguments) {
  (void)runtime;
  if (!arguments.operands().empty()) throw UsageError("spec takes no operand");
  const std::string path = arguments.Value("bundle", ".") + "/config.json";
  const Fd file{open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
  if (!file && errno == EEXIST) throw UsageError(path + " exists already; it is not overwritten");
  if (!file) throw SysError{errno, "open", path};
  const std::string text = DefaultConfig().dump(2) + "\n";
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw SysError{errno, "write", path};
  return 0;
}

}  // namespace covey
