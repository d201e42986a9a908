// linux.resources.memory.
#include <nlohmann/json.hpp>

#include "cgroup_resources.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

/** -1 is the kernel's word for no limit on v1, and OCI's on both. */
std::string LimitText(int64_t bytes, bool unified) {
  return bytes < 0 && unified ? "max" : std::to_string(bytes);
}

void PutMemoryV1(CgroupSettings& out, const json& memory) {
  using Mode = CgroupSetting::Mode;
  const auto limit = NumberOr(memory, "limit", 0), swap = NumberOr(memory, "swap", 0);
  if (limit != 0) out.Put("memory.limit", "memory", "memory.limit_in_bytes", LimitText(limit, false));
  // Memory and swap together. Without a word about swap there is none; a kernel that counts no swap lacks the file, and
  // whoever asked for a limit on it must hear so.
  if (swap != 0)
    out.Put("memory.swap", "memory", "memory.memsw.limit_in_bytes", LimitText(swap, false));
  else if (limit > 0)
    out.Put("memory.swap", "memory", "memory.memsw.limit_in_bytes", std::to_string(limit)).mode =
        Mode::kOptional;
  const auto low = NumberOr(memory, "reservation", 0);
  if (low != 0) out.Put("memory.reservation", "memory", "memory.soft_limit_in_bytes", LimitText(low, false));
  // Kernels from 6.2 on keep no limit on kernel memory. The specification advises against one, and what the kernel holds
  // counts towards `limit`: beside that it is asked for, but alone it must hold.
  const auto kernel = NumberOr(memory, "kernel", 0), tcp = NumberOr(memory, "kernelTCP", 0);
  if (kernel > 0)
    out.Put("memory.kernel", "memory", "memory.kmem.limit_in_bytes", std::to_string(kernel)).mode =
        limit > 0 ? Mode::kOptional : Mode::kVerified;
  if (tcp != 0)
    out.Put("memory.kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", LimitText(tcp, false)).mode =
        Mode::kVerified;
  if (memory.contains("swappiness") && !memory["swappiness"].is_null()) {
    out.Put("memory.swappiness", "memory", "memory.swappiness",
            std::to_string(NumberOr(memory, "swappiness", 0)));
  }
  if (memory.contains("disableOOMKiller") && !memory["disableOOMKiller"].is_null()) {
    out.Put("memory.disableOOMKiller", "memory", "memory.oom_control",
            FlagOr(memory, "disableOOMKiller", false) ? "1" : "0");
  }
  if (FlagOr(memory, "useHierarchy", false))
    out.Put("memory.useHierarchy", "memory", "memory.use_hierarchy", "1");
}

void PutMemoryV2(CgroupSettings& out, const json& memory) {
  const auto limit = NumberOr(memory, "limit", 0), swap = NumberOr(memory, "swap", 0);
  if (limit != 0) out.Put("memory.limit", "memory", "memory.max", LimitText(limit, true));
  // OCI's number is memory and swap together, the kernel's is swap alone.
  if (swap > 0) {
    if (limit <= 0) RefuseResource("memory.swap", "needs memory.limit: it is the sum of memory and swap");
    out.Put("memory.swap", "memory", "memory.swap.max", std::to_string(swap - limit));
  } else if (swap < 0) {
    out.Put("memory.swap", "memory", "memory.swap.max", "max");
  } else if (limit > 0) {
    out.Put("memory.swap", "memory", "memory.swap.max", "0").mode = CgroupSetting::Mode::kOptional;
  }
  const auto low = NumberOr(memory, "reservation", 0);
  if (low != 0) out.Put("memory.reservation", "memory", "memory.low", LimitText(low, true));
  const std::string apart = "cgroup v2 has no limit for it alone; it counts towards memory.limit";
  if (NumberOr(memory, "kernel", 0) > 0) RefuseResource("memory.kernel", apart);
  if (NumberOr(memory, "kernelTCP", 0) > 0) RefuseResource("memory.kernelTCP", apart);
  if (memory.contains("swappiness") && !memory["swappiness"].is_null())
    RefuseResource("memory.swappiness", "cgroup v2 has none; limit swap with memory.swap");
  if (FlagOr(memory, "disableOOMKiller", false))
    RefuseResource("memory.disableOOMKiller", "cgroup v2 cannot switch the OOM killer off");
}

}  // namespace

void PutMemory(CgroupSettings& out, const json& memory) {
  const auto limit = NumberOr(memory, "limit", 0), swap = NumberOr(memory, "swap", 0);
  if (limit > 0 && swap > 0 && swap < limit)
    RefuseResource("memory.swap", "is less than memory.limit; it is the sum of memory and swap");
  if (out.unified())
    PutMemoryV2(out, memory);
  else
    PutMemoryV1(out, memory);
  if (!FlagOr(memory, "useHierarchy", true))
    RefuseResource("memory.useHierarchy", "memory is always counted by hierarchy on this kernel");
}

}  // namespace covey
