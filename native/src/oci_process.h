// The process of an OCI config as plan operations.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "plan_writer.h"

namespace covey {

/** process.oomScoreAdj, 0 when it is not given. */
void PlanOomScore(PlanWriter& plan, const nlohmann::json& process);

/** Limits, user, capabilities, folder, environment, command. Throws InvalidInput. */
void PlanProcess(PlanWriter& plan, const nlohmann::json& process);

}  // namespace covey
