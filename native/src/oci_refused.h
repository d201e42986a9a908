// What an OCI config may ask for and this core does not do: refused by name, because a field that is ignored leaves a
// container less than its config says. Fields that the specification does not know are ignored, as it demands
// (config.md, "Extensibility").
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace covey {

/** Throws InvalidInput with the field. `runs_hooks`: whether the caller takes hooks at all; the OCI command line does. */
void RefuseUnsupported(const nlohmann::json& config, bool runs_hooks);

/** For a container in a mount namespace that is joined: there is a root already, and it is not ours to change. */
void RefuseTree(const nlohmann::json& config);

}  // namespace covey
