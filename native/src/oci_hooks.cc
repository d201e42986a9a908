#include "oci_hooks.h"

#include <nlohmann/json.hpp>

#include "oci_reader.h"

namespace covey {

std::vector<OciHook> HooksOf(const nlohmann::json& config, const char* kind) {
  std::vector<OciHook> hooks;
  const std::string field = std::string("hooks.") + kind;
  for (const nlohmann::json& item : ArrayOr(ObjectOr(config, "hooks"), kind)) {
    if (!item.is_object()) throw InvalidInput(field, "must hold objects");
    OciHook hook{
        .path = TextOr(item, "path", ""), .args = TextsOr(item, "args"), .env = TextsOr(item, "env")};
    if (hook.path.empty() || hook.path[0] != '/')
      throw InvalidInput(field + ".path", "\"" + hook.path + "\" is not absolute");
    if (hook.args.empty()) hook.args = {hook.path};
    if (item.contains("timeout") && !item["timeout"].is_null()) {
      const int64_t seconds = NumberOr(item, "timeout", 0);
      if (seconds <= 0 || seconds > 1'000'000'000)
        throw InvalidInput(field + ".timeout", "must be a number of seconds greater than zero");
      hook.timeout_ms = static_cast<uint64_t>(seconds) * 1000;
    }
    hooks.push_back(std::move(hook));
  }
  return hooks;
}

bool PlanHooks(PlanWriter& plan, const nlohmann::json& config, const HookStates& states) {
  const struct {
    const char* kind;
    plan_hook_stage stage;
  } kinds[] = {{"prestart", HOOK_PRESTART},
               {"createRuntime", HOOK_CREATE_RUNTIME},
               {"createContainer", HOOK_CREATE_CONTAINER},
               {"startContainer", HOOK_START_CONTAINER}};
  bool before_pivot = false, any = false;
  for (const auto& [kind, stage] : kinds) {
    for (const OciHook& hook : HooksOf(config, kind)) {
      any = true;
      if (stage != HOOK_START_CONTAINER) before_pivot = true;
      plan.Op(PLAN_HOOK, std::string("hooks.") + kind).Number(stage).Text(hook.path);
      plan.List(hook.args).List(hook.env).Number(hook.timeout_ms);
    }
  }
  if (any) plan.Op(PLAN_HOOK_STATE).Text(states.creating).Text(states.created);
  return before_pivot;
}

}  // namespace covey
