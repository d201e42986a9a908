// The namespaces of an OCI config: made, joined or shared with the host, and what follows from each.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "cgroup.h"
#include "id_maps.h"
#include "plan_writer.h"

namespace covey {

/** Who a container's ids are on the host. */
struct Ids {
  IdMap uids;
  IdMap gids;
};

class Namespaces {
 public:
  /**
   * Reads linux.namespaces, uidMappings, gidMappings and timeOffsets. A type that is missing is shared with the host.
   * Throws InvalidInput with the field. Source: OCI runtime-spec 1.2, config-linux.md "Namespaces".
   */
  explicit Namespaces(const nlohmann::json& config);

  /** The container gets a new one. */
  bool Makes(int flag) const;
  /** It lives in one that exists, named by a path. */
  bool Joins(int flag) const;
  /** It is the host's. */
  bool Shares(int flag) const { return !Makes(flag) && !Joins(flag); }

  /** Set when the container lives in a user namespace other than the host's. */
  const std::optional<Ids>& ids() const { return ids_; }
  /** The host's id of a container's, or the same id without a user namespace. Throws InvalidInput naming `what`. */
  uint32_t HostUid(uint32_t uid, const std::string& what) const;
  uint32_t HostGid(uint32_t gid, const std::string& what) const;

  /** The settings for the shim; `cgroup` is killed as a whole when the pid namespace will not end with the container. */
  void Plan(PlanWriter& plan, const CgroupLayout& layout, const std::string& cgroup) const;

 private:
  uint64_t made_ = 0;
  std::map<int, std::string> joined_;
  std::optional<Ids> ids_;
  std::string time_offsets_;
};

/** One key of linux.sysctl as a path below /proc/sys; only what the container's own namespaces hold is allowed. */
std::string SysctlPath(const std::string& key, const Namespaces& namespaces);

}  // namespace covey
