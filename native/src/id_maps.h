// The id maps of an OCI config: which ids of the host a container's ids are.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace covey {

/** One line of uid_map or gid_map: `size` ids from `container` on are the host's from `host` on. */
struct IdRange {
  uint32_t container;
  uint32_t host;
  uint32_t size;
};

/** A checked map: at least one range, none overlaps another on either side. */
class IdMap {
 public:
  /**
   * `mappings` is an array of { containerID, hostID, size }; `field` names it in errors.
   * Throws InvalidInput for what the kernel would refuse (overlap, more than 340 lines or one page) and for what would
   * give a container nothing (size 0). Source: OCI runtime-spec, config-linux.md "User namespace mappings";
   * user_namespaces(7).
   */
  IdMap(const nlohmann::json& mappings, const std::string& field);

  /** The host's id. Throws InvalidInput naming `what` when the container has no such id. */
  uint32_t HostId(uint32_t id, const std::string& what) const;

  /** As written to /proc/PID/uid_map. */
  std::string Lines() const;

 private:
  std::vector<IdRange> ranges_;
  std::string field_;
};

}  // namespace covey
