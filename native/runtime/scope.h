// A container's unit of systemd's, on hosts that it runs: it makes the cgroup and hands it over whole.
#pragma once

#include <sys/types.h>

#include <string>

#include "../src/cgroup_name.h"

namespace covey {

/** Source: sd_booted(3). */
bool HasSystemd();

/**
 * A transient scope with everything delegated. systemd ends a scope in which no process lives, so one of ours does until
 * the container's first does; whoever has this object holds it. The container's cgroup is below the scope, never the scope
 * itself, whose files are systemd's.
 * Source: systemd, "Control Group APIs and Delegation"; org.freedesktop.systemd1(5), StartTransientUnit.
 */
class Scope {
 public:
  /** The cgroup below the scope that is the container's. */
  static std::string PlaceIn(const CgroupName& name) { return name.path + "/container"; }

  /** Throws SysError with what systemd says, such as that the unit exists; ETIMEDOUT when it makes none. */
  Scope(const std::string& shim, const CgroupName& name);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  /** Puts the container's first process into the scope where that is no cgroup of limits: in systemd's own hierarchies. */
  void Adopt(pid_t pid) const;

 private:
  void Make();
  void AwaitHolder();
  void MakeRoom();
  void LetGo();

  CgroupName name_;
  pid_t holder_;
};

}  // namespace covey
