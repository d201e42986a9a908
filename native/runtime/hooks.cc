#include "hooks.h"

#include <cstring>

#include "../shim/hooks.h"
#include "../src/oci_hooks.h"

namespace covey {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

void RunHooksAfter(const Runtime& runtime, const Record& record, const char* kind) {
  const bool is_start = strcmp(kind, "poststart") == 0;
  std::vector<OciHook> hooks = HooksOf(record.Config(), kind);
  const std::string state = StateOf(record.container, NameOf(is_start ? Status::kRunning : Status::kStopped),
                                    is_start ? record.pid : 0)
                                .dump();
  for (OciHook& hook : hooks) {
    const std::vector<char*> args = Pointers(hook.args), env = Pointers(hook.env);
    const struct hook call { hook.path.c_str(), args.data(), env.data(), hook.timeout_ms };
    failure failed{};
    if (hook_run(&call, state.c_str(), &failed) == 0) continue;
    std::string why = std::string(kind) + " hook " + failed.path;
    if (strcmp(failed.syscall, "hook") != 0) why += std::string(": ") + strerror(failed.error);
    runtime.log.Say(Level::kWarning, "container \"" + record.id + "\": " + why);
  }
}

}  // namespace covey
