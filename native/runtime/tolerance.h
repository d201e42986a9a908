// What a config may say to this program without effect, because every OCI runtime takes it and callers write it on any
// host. Each is a warning. The core itself, and so every service, keeps refusing it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "log.h"

namespace covey {

/**
 * Takes out of a config what cannot hold and is taken nevertheless: labels of a security module that this kernel does not
 * run, file system options of binds, which the kernel ignores, limits on kernel memory alone, which it no longer keeps, and
 * device nodes where /dev is not the container's own.
 */
void TolerateConfig(nlohmann::json& config, const Log& log);

/** The same of a process that joins a container. */
void TolerateProcess(nlohmann::json& process, const Log& log);

}  // namespace covey
