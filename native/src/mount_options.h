// The options of an OCI mount, sorted by who takes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace covey {

/** Attributes to set and to clear; MOUNT_ATTR_… of linux/mount.h. */
struct MountAttributes {
  uint64_t set = 0;
  uint64_t clear = 0;
};

struct MountOptions {
  /** Of the mount itself. */
  MountAttributes top;
  /** Of it and everything below: rro, rnosuid, … */
  MountAttributes below;
  /** MS_SHARED, …, with MS_REC for the recursive forms; 0 = not said. */
  uint64_t propagation = 0;
  bool bind = false;
  bool recursive = false;
  bool remount = false;
  bool copy_up = false;
  bool idmap = false;
  bool idmap_recursive = false;
  /** For the file system's own ears, among them the flags of its superblock. */
  std::vector<std::string> data;
};

/** Later options win over earlier ones. Source: OCI runtime-spec 1.2, config.md "Linux mount options". */
MountOptions SortMountOptions(const std::vector<std::string>& texts);

/** `rshared` as MS_SHARED | MS_REC; 0 for what is no propagation. */
uint64_t PropagationOf(const std::string& text);

/** Every option with a meaning here; others go to the file system. Sorted. */
std::vector<std::string> KnownMountOptions();

}  // namespace covey
