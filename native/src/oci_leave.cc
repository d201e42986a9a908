#include "oci_leave.h"

#include <nlohmann/json.hpp>

#include "oci_attributes.h"
#include "oci_process.h"
#include "oci_reader.h"

namespace covey {

using nlohmann::json;

bool PlanLeave(PlanWriter& plan, const json& config, const LeaveOptions& leave) {
  plan.Op(PLAN_LEAVE).Number(leave.kept).Number(leave.console ? 1 : 0);
  return PlanHooks(plan, config, leave.states);
}

std::string PlanJoin(const json& process, const json& linux, const JoinOptions& options,
                     const CgroupLayout& layout) {
  PlanWriter plan;
  plan.Op(PLAN_LEAVE).Number(options.kept).Number(options.console ? 1 : 0);
  if (layout.unified) {
    plan.Op(PLAN_CGROUP_UNIFIED).Text(layout.unified_mount + options.cgroup);
  } else {
    for (const std::string& folder : layout.FoldersOf(options.cgroup))
      plan.Op(PLAN_CGROUP_TASKS).Text(folder + "/tasks");
  }
  if (options.chroot) plan.Op(PLAN_CHROOT);
  PlanExecAffinity(plan, process);
  PlanTerminal(plan, process);
  if (process.contains("oomScoreAdj")) PlanOomScore(plan, process);
  PlanLabels(plan, process, linux);
  PlanProcess(plan, process, linux, false);
  return plan.Finish();
}

}  // namespace covey
