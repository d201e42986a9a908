#include <napi.h>

#include <optional>
#include <string>
#include <vector>

#include "async.h"
#include "cgroup.h"
#include "cgroup_stats.h"
#include "cgroup_update.h"

namespace covey {
namespace {

std::string PathOf(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

Napi::Value NumberTo(Napi::Env env, double value) { return Napi::Number::New(env, value); }

Napi::Value NumberTo(Napi::Env env, const std::optional<uint64_t>& value) {
  return value ? NumberTo(env, static_cast<double>(*value)) : env.Null();
}

/** An object of numbers. 2^53 bytes or nanoseconds are 104 days of one CPU: rounding beyond is no matter. */
template <typename... Values>
Napi::Object Numbers(Napi::Env env, const std::pair<const char*, Values>&... values) {
  Napi::Object out = Napi::Object::New(env);
  (out.Set(values.first, NumberTo(env, values.second)), ...);
  return out;
}

template <typename Value>
std::pair<const char*, Value> Named(const char* name, const Value& value) {
  return {name, value};
}

Napi::Object CpuTo(Napi::Env env, const CpuUse& cpu) {
  return Numbers(env, Named("usageNanos", cpu.usage_nanos), Named("userNanos", cpu.user_nanos),
                 Named("systemNanos", cpu.system_nanos), Named("periods", cpu.periods),
                 Named("throttledPeriods", cpu.throttled_periods),
                 Named("throttledNanos", cpu.throttled_nanos));
}

Napi::Object MemoryTo(Napi::Env env, const MemoryUse& memory) {
  return Numbers(env, Named("usageBytes", memory.usage_bytes),
                 Named("workingSetBytes", memory.working_set_bytes), Named("limitBytes", memory.limit_bytes),
                 Named("peakBytes", memory.peak_bytes), Named("swapBytes", memory.swap_bytes),
                 Named("limitHits", memory.limit_hits), Named("highHits", memory.high_hits),
                 Named("lowHits", memory.low_hits), Named("ooms", memory.ooms),
                 Named("oomKills", memory.oom_kills));
}

template <typename Item, typename Convert>
Napi::Array ListTo(Napi::Env env, const std::vector<Item>& items, const Convert& convert) {
  Napi::Array out = Napi::Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); i++) out.Set(i, convert(items[i]));
  return out;
}

Napi::Value PressureTo(Napi::Env env, const Pressure& pressure) {
  return Numbers(env, Named("avg10", pressure.avg10), Named("avg60", pressure.avg60),
                 Named("avg300", pressure.avg300), Named("totalMicros", pressure.total_micros));
}

Napi::Value PressuresTo(Napi::Env env, const std::optional<Pressures>& pressures) {
  if (!pressures) return env.Null();
  Napi::Object out = Napi::Object::New(env);
  out.Set("some", PressureTo(env, pressures->some));
  out.Set("full", pressures->full ? PressureTo(env, *pressures->full) : env.Null());
  return out;
}

Napi::Value StatsTo(Napi::Env env, const CgroupStats& stats) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("cpu", CpuTo(env, stats.cpu));
  out.Set("memory", MemoryTo(env, stats.memory));
  out.Set("pids", Numbers(env, Named("count", stats.pids.count), Named("limit", stats.pids.limit)));
  out.Set("io", ListTo(env, stats.io, [&](const IoUse& use) {
            Napi::Object io =
                Numbers(env, Named("readBytes", use.read_bytes), Named("writeBytes", use.write_bytes),
                        Named("reads", use.reads), Named("writes", use.writes));
            io.Set("device", Napi::String::New(env, use.device));
            return io;
          }));
  out.Set("hugePages", ListTo(env, stats.huge_pages, [&](const HugePageUse& use) {
            Napi::Object pages =
                Numbers(env, Named("usageBytes", use.usage_bytes), Named("limitHits", use.limit_hits));
            pages.Set("pageSize", Napi::String::New(env, use.page_size));
            return pages;
          }));
  Napi::Object pressure = Napi::Object::New(env);
  pressure.Set("cpu", PressuresTo(env, stats.cpu_pressure));
  pressure.Set("memory", PressuresTo(env, stats.memory_pressure));
  pressure.Set("io", PressuresTo(env, stats.io_pressure));
  out.Set("pressure", pressure);
  return out;
}

Napi::Value CgroupEnsureParent(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = PathOf(info[0])] { EnsureCgroupParent(path); });
}

Napi::Value CgroupKill(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = PathOf(info[0])] { KillCgroup(path); });
}

Napi::Value CgroupSignal(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = PathOf(info[0]), number = info[1].As<Napi::Number>().Int32Value()] {
    SignalCgroup(path, number);
  });
}

Napi::Value CgroupRemove(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = PathOf(info[0])] { RemoveCgroup(path); });
}

Napi::Value CgroupList(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [path = PathOf(info[0])] { return ListCgroups(path); },
      [](Napi::Env env, const std::vector<std::string>& names) -> Napi::Value {
        Napi::Array out = Napi::Array::New(env, names.size());
        for (uint32_t i = 0; i < names.size(); i++) out.Set(i, Napi::String::New(env, names[i]));
        return out;
      });
}

Napi::Value CgroupFolder(const Napi::CallbackInfo& info) {
  const std::string folder = HostCgroups().FolderOf(PathOf(info[0]), PathOf(info[1]));
  return folder.empty() ? info.Env().Null() : Napi::String::New(info.Env(), folder).As<Napi::Value>();
}

Napi::Value CgroupStatsOf(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [path = PathOf(info[0])] { return ReadCgroupStats(path); }, StatsTo);
}

Napi::Value CgroupUpdate(const Napi::CallbackInfo& info) {
  return Async(info.Env(),
               [path = PathOf(info[0]), resources = PathOf(info[1])] { UpdateCgroup(path, resources); });
}

Napi::Value CgroupPause(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = PathOf(info[0])] { PauseCgroup(path); });
}

Napi::Value CgroupResume(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = PathOf(info[0])] { ResumeCgroup(path); });
}

Napi::Value CgroupPaused(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [path = PathOf(info[0])] { return IsCgroupPaused(path); },
      [](Napi::Env env, bool paused) -> Napi::Value { return Napi::Boolean::New(env, paused); });
}

}  // namespace

void RegisterCgroup(Napi::Object exports) {
  Export<CgroupEnsureParent>(exports, "cgroupEnsureParent");
  Export<CgroupKill>(exports, "cgroupKill");
  Export<CgroupSignal>(exports, "cgroupSignal");
  Export<CgroupPause>(exports, "cgroupPause");
  Export<CgroupResume>(exports, "cgroupResume");
  Export<CgroupPaused>(exports, "cgroupPaused");
  Export<CgroupUpdate>(exports, "cgroupUpdate");
  Export<CgroupRemove>(exports, "cgroupRemove");
  Export<CgroupList>(exports, "cgroupList");
  Export<CgroupStatsOf>(exports, "cgroupStats");
  Export<CgroupFolder>(exports, "cgroupFolder");
}

}  // namespace covey
