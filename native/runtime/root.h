// Containers whose mount namespace is not their own: their root is attached at ROOT/ID/root in it, outlives their
// processes, and is detached when they are removed.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace covey {

/** True when the config joins a mount namespace or stays in the caller's. */
bool SharesMounts(const nlohmann::json& config);

/**
 * Removes a container's folder. A root that is still attached is detached first, and what lies behind it is never
 * entered. Throws SysError.
 */
void RemoveFolder(const std::string& folder, const nlohmann::json& config);

}  // namespace covey
