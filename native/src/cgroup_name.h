// linux.cgroupsPath in its three forms. Pure.
#pragma once

#include <string>

namespace covey {

/** A unit of systemd's that holds one container. */
struct ScopeName {
  /** Such as "user-1000.slice". */
  std::string slice;
  /** Such as "docker-abc.scope". */
  std::string scope;
};

/** Where a container's cgroup is. */
struct CgroupName {
  /** Absolute, below the root of every hierarchy. Under systemd the same place, made by it. */
  std::string path;
  /** Set for the form SLICE:PREFIX:NAME: systemd makes the cgroup when it runs the host. Both "" otherwise. */
  ScopeName unit;
};

/**
 * Understands an absolute path, a path relative to `parent`, nothing at all (then PARENT/ID), and systemd's
 * SLICE:PREFIX:NAME, where an empty slice is system.slice and "-" the root. `parent` is absolute.
 * Throws InvalidInput naming linux.cgroupsPath. Source: OCI runtime-spec config-linux.md, "Cgroups Path"; runc's
 * docs/systemd.md; systemd.slice(5).
 */
CgroupName ParseCgroupsPath(const std::string& text, const std::string& parent, const std::string& id);

/** Where systemd puts a slice: "a-b.slice" is "/a.slice/a-b.slice", "-.slice" is "". Throws InvalidInput. */
std::string SlicePath(const std::string& slice);

}  // namespace covey
