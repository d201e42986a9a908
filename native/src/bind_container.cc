#include <napi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "async.h"
#include "cgroup.h"
#include "container.h"
#include "poll.h"
#include "process.h"
#include "shim_door.h"
#include "sys_error.h"
#include "user_lookup.h"

namespace covey {
namespace {

std::string Text(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

std::vector<std::string> Texts(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < array.Length(); i++) texts.push_back(Text(array.Get(i)));
  return texts;
}

uint64_t Whole(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

int OverlayMode(const std::string& name) {
  if (name == "auto") return OVERLAY_AUTO;
  if (name == "fsconfig") return OVERLAY_FSCONFIG;
  if (name == "mount") return OVERLAY_MOUNT;
  throw InvalidInput("overlayMode", "must be auto, fsconfig or mount");
}

plan_log_format LogFormat(const std::string& name) {
  if (name == "text") return LOG_TEXT;
  if (name == "json") return LOG_JSON;
  if (name == "none") return LOG_NONE;
  throw InvalidInput("logFormat", "must be text, json or none");
}

plan_restart_condition Condition(const std::string& name) {
  if (name == "none") return RESTART_NONE;
  if (name == "on-failure") return RESTART_ON_FAILURE;
  if (name == "any") return RESTART_ANY;
  throw InvalidInput("restart.condition", "must be none, on-failure or any");
}

RestartInPlace RestartFrom(const Napi::Value& value) {
  RestartInPlace restart;
  if (value.IsNull() || value.IsUndefined()) return restart;
  const auto from = value.As<Napi::Object>();
  restart.condition = Condition(Text(from.Get("condition")));
  restart.delay_ms = Whole(from.Get("delayMs"));
  restart.attempts = Whole(from.Get("maxAttempts"));
  restart.window_ms = Whole(from.Get("windowMs"));
  restart.used = Whole(from.Get("used"));
  restart.hold_ms = Whole(from.Get("holdMs"));
  return restart;
}

CreateOptions OptionsFrom(const Napi::Object& from) {
  CreateOptions options;
  options.id = Text(from.Get("id"));
  options.state_dir = Text(from.Get("stateDir"));
  options.layers = Texts(from.Get("layers"));
  options.overlay_mode = OverlayMode(Text(from.Get("overlayMode")));
  options.is_volatile = from.Get("volatile").As<Napi::Boolean>();
  options.reaper = from.Get("reaper").As<Napi::Boolean>();
  options.log_path = Text(from.Get("logPath"));
  options.log_max_bytes = Whole(from.Get("logMaxBytes"));
  options.log_files = static_cast<uint32_t>(Whole(from.Get("logFiles")));
  options.log_format = LogFormat(Text(from.Get("logFormat")));
  options.log_buffer_bytes = Whole(from.Get("logBufferBytes"));
  options.input = from.Get("input").As<Napi::Boolean>();
  options.input_once = from.Get("inputOnce").As<Napi::Boolean>();
  options.restart = RestartFrom(from.Get("restart"));
  options.shim_path = Text(from.Get("shimPath"));
  return options;
}

Napi::Value IdentityToJs(Napi::Env env, const ContainerIdentity& identity) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("pid", Napi::Number::New(env, identity.pid));
  out.Set("startTime", Napi::Number::New(env, static_cast<double>(identity.start_time)));
  out.Set("shimPid", Napi::Number::New(env, identity.shim_pid));
  out.Set("shimStartTime", Napi::Number::New(env, static_cast<double>(identity.shim_start_time)));
  out.Set("life", Napi::String::New(env, identity.life));
  out.Set("run", Napi::Number::New(env, identity.run));
  return out;
}

// A promise of a promise: the first ends when the shim has its plan, the second when it has answered.
Napi::Value ContainerCreate(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(),
      [config = Text(info[0]), options = OptionsFrom(info[1].As<Napi::Object>())] {
        return BeginContainer(config, options);
      },
      [](Napi::Env env, NewContainer made) {
        return ShimDoor::AwaitContainer(env, std::move(made), IdentityToJs);
      });
}

/** By the door where there is one; by the control socket for a container that another process has made or attends. */
Napi::Value ContainerStart(const Napi::CallbackInfo& info) {
  const std::string dir = Text(info[0]);
  const std::shared_ptr<ShimDoor> door = ShimDoor::Of(dir);
  if (door && !door->IsAsked()) return door->Begin(info.Env());
  return Async(
      info.Env(), [dir] { return StartContainer(dir); },
      [dir](Napi::Env env, Fd connection) { return ShimDoor::Attend(env, dir, std::move(connection), {}); });
}

Napi::Value ContainerAttend(const Napi::CallbackInfo& info) {
  const std::string dir = Text(info[0]);
  return Async(
      info.Env(), [dir] { return AttendContainer(dir); },
      [dir](Napi::Env env, std::optional<Attendance> found) -> Napi::Value {
        if (!found) return env.Null();
        const ContainerIdentity& identity = found->identity;
        const ProcessName shim{identity.shim_pid, identity.shim_start_time};
        Napi::Object out = Napi::Object::New(env);
        out.Set("identity", IdentityToJs(env, identity));
        out.Set("attendance", ShimDoor::Attend(env, dir, std::move(found->connection), shim));
        return out;
      });
}

Napi::Value ContainerIdentify(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [dir = Text(info[0])] { return IdentifyContainer(dir); },
      [](Napi::Env env, const std::optional<ContainerIdentity>& found) {
        return found ? IdentityToJs(env, *found) : env.Null();
      });
}

Napi::Value ContainerCheckpoint(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [dir = Text(info[0])] {
    throw SysError{EOPNOTSUPP, "checkpoint", dir, "writing a container to disk",
                   "processes cannot be revived here; stop it and start it again"};
  });
}

/**
 * Two ways to learn of an end: a shim that we started closes its door as soon as the end is on the disk, and goes on for
 * a while; any process becomes readable in the end. What lives is kept until the second, which reaps it.
 */
struct Watch {
  Poll* process = nullptr;
  std::shared_ptr<ShimDoor> door;
  bool told = false;

  void Tell(napi_env env, const Napi::Promise::Deferred& deferred, bool ended) {
    if (told) return;
    told = true;
    deferred.Resolve(Napi::Boolean::New(env, ended));
  }
};

/** { ended: Promise<boolean>, cancel(): void }; ended is false when cancelled. */
Napi::Value WatchProcess(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const pid_t pid = info[0].As<Napi::Number>().Int32Value();
  const auto deferred = Napi::Promise::Deferred::New(env);
  Napi::Object out = Napi::Object::New(env);
  out.Set("ended", deferred.Promise());
  // Shared with `cancel`, which may be called at any time.
  auto watch = std::make_shared<Watch>();
  const uint64_t start_time = Whole(info[1]);
  Fd fd = OpenProcess(pid, start_time);
  if (!fd) {
    Reap(pid, false);
    watch->Tell(env, deferred, true);
  } else {
    watch->process = Poll::Start(env, std::move(fd), [watch, deferred, pid, raw = napi_env(env)](int) {
      Reap(pid, false);
      watch->process = nullptr;
      watch->Tell(raw, deferred, true);
      return false;
    });
    watch->door = ShimDoor::Of(ProcessName{pid, start_time});
    if (watch->door && watch->door->IsWatched()) watch->door = nullptr;
    if (watch->door) {
      watch->door->OnEnd([watch, deferred, raw = napi_env(env)] { watch->Tell(raw, deferred, true); });
    }
  }
  out.Set("cancel", Napi::Function::New(env, [watch, deferred](const Napi::CallbackInfo& call) {
            if (watch->process != nullptr) watch->process->Stop();
            if (watch->door) watch->door->Forget();
            watch->process = nullptr;
            watch->door = nullptr;
            watch->Tell(call.Env(), deferred, false);
          }));
  return out;
}

Napi::Value ExecToJs(Napi::Env env, const ExecResult& result) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("exitCode", Napi::Number::New(env, result.exit_code));
  out.Set("timedOut", Napi::Boolean::New(env, result.timed_out));
  out.Set("output", Napi::Buffer<char>::Copy(env, result.output.data(), result.output.size()));
  return out;
}

/** Collects the helper's answer on the loop, then settles the promise. */
void AwaitAnswer(Napi::Env env, ExecHandle handle, const Napi::Promise::Deferred& deferred) {
  auto text = std::make_shared<std::string>();
  const pid_t helper = handle.helper;
  WaitForHelper(env, std::move(handle.answer), helper, [text, helper, deferred, raw = napi_env(env)](int fd) {
    char chunk[16384];
    ssize_t n = 0;
    while ((n = read(fd, chunk, sizeof chunk)) > 0) text->append(chunk, static_cast<size_t>(n));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    ReapOnLoop(raw, helper);
    try {
      deferred.Resolve(ExecToJs(raw, ParseExecAnswer(*text)));
    } catch (...) {
      deferred.Reject(JsError(raw, std::current_exception()).Value());
    }
    return false;
  });
}

Napi::Value ContainerExec(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto options = info[3].As<Napi::Object>();
  ExecOptions exec;
  exec.cgroup = Text(options.Get("cgroup"));
  exec.timeout_ms = Whole(options.Get("timeoutMs"));
  exec.output_max = Whole(options.Get("outputMaxBytes"));
  auto started = [pid = info[0].As<Napi::Number>().Int32Value(), ticks = Whole(info[1]),
                  config = Text(info[2]), exec,
                  shim = Text(options.Get("shimPath"))] { return StartExec(pid, ticks, config, exec, shim); };
  // A promise of a promise: the first ends when the helper runs, the second when it has answered. The second is made
  // where it is given out: the handle of a promise is good in the scope of its making only, and one from the call
  // above would by now stand for whatever has taken its slot.
  return Async(env, started, [](Napi::Env e, ExecHandle handle) -> Napi::Value {
    const auto deferred = Napi::Promise::Deferred::New(e);
    AwaitAnswer(e, std::move(handle), deferred);
    return deferred.Promise();
  });
}

Napi::Value ResolveUser(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [layers = Texts(info[0]), user = Text(info[1])] { return LookUpUser(layers, user); },
      [](Napi::Env env, const ImageUser& user) -> Napi::Value {
        Napi::Object out = Napi::Object::New(env);
        Napi::Array gids = Napi::Array::New(env, user.additional_gids.size());
        for (uint32_t i = 0; i < user.additional_gids.size(); i++) {
          gids.Set(i, Napi::Number::New(env, user.additional_gids[i]));
        }
        out.Set("uid", Napi::Number::New(env, user.uid));
        out.Set("gid", Napi::Number::New(env, user.gid));
        out.Set("additionalGids", gids);
        out.Set("home", Napi::String::New(env, user.home));
        return out;
      });
}

Napi::Value HoldScope(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [shim = Text(info[0])] { return SpawnHolder(shim); },
      [](Napi::Env env, pid_t holder) -> Napi::Value { return Napi::Number::New(env, holder); });
}

}  // namespace

void RegisterContainer(Napi::Object exports) {
  Export<ContainerCreate>(exports, "containerCreate");
  Export<ContainerStart>(exports, "containerStart");
  Export<ContainerAttend>(exports, "containerAttend");
  Export<ContainerIdentify>(exports, "containerIdentify");
  Export<ContainerCheckpoint>(exports, "containerCheckpoint");
  Export<ContainerExec>(exports, "containerExec");
  Export<WatchProcess>(exports, "watchProcess");
  Export<ResolveUser>(exports, "resolveUser");
  Export<HoldScope>(exports, "holdScope");
}

}  // namespace covey
