#include <napi.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <string>

#include "async.h"
#include "exec_stream.h"
#include "poll.h"
#include "sys_error.h"

namespace covey {
namespace {

std::string Text(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

uint64_t Whole(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

bool Flag(const Napi::Value& value) { return value.As<Napi::Boolean>(); }

/** A terminal's rows or columns. */
uint16_t Cells(const Napi::Value& value, const char* field) {
  const int64_t cells = value.As<Napi::Number>().Int64Value();
  if (cells < 0 || cells > 0xffff) throw InvalidInput(field, "must be 0 to 65535");
  return static_cast<uint16_t>(cells);
}

/** The descriptor becomes JavaScript's; null when there is none. */
Napi::Value Given(Napi::Env env, Fd& fd) {
  return fd ? Napi::Number::New(env, fd.Release()).As<Napi::Value>() : env.Null();
}

/** The helper's door while the command runs; -1 once it has ended. */
using LiveDoor = std::shared_ptr<int>;

/** Waits on Node's loop for what the helper says last. */
Napi::Promise AwaitEnd(Napi::Env env, ExecStream& stream, const LiveDoor& live) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  auto said = std::make_shared<std::string>(std::move(stream.said));
  *live = stream.door.get();
  WaitForHelper(env, std::move(stream.door), stream.helper,
                [said, live, deferred, helper = stream.helper, raw = napi_env(env)](int fd) {
                  char chunk[256];
                  ssize_t n = 0;
                  while ((n = read(fd, chunk, sizeof chunk)) > 0) said->append(chunk, static_cast<size_t>(n));
                  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
                  *live = -1;
                  ReapOnLoop(raw, helper);
                  try {
                    deferred.Resolve(Napi::Number::New(raw, ExitCodeIn(*said)));
                  } catch (...) {
                    deferred.Reject(JsError(raw, std::current_exception()).Value());
                  }
                  return false;
                });
  return deferred.Promise();
}

void AddOrders(Napi::Env env, Napi::Object out, const LiveDoor& live) {
  out.Set("resize", Napi::Function::New(env, [live](const Napi::CallbackInfo& info) {
            Sync(info.Env(), [&] {
              const uint16_t rows = Cells(info[0], "rows"), columns = Cells(info[1], "columns");
              if (*live >= 0) ResizeExecStream(*live, rows, columns);
            });
          }));
  out.Set("signal", Napi::Function::New(env, [live](const Napi::CallbackInfo& info) {
            Sync(info.Env(), [&] {
              const int64_t number = info[0].As<Napi::Number>().Int64Value();
              if (number < 1 || number >= NSIG) throw InvalidInput("signal", "is no signal");
              if (*live >= 0) SignalExecStream(*live, static_cast<uint16_t>(number));
            });
          }));
  out.Set("detach", Napi::Function::New(env, [live](const Napi::CallbackInfo& info) {
            Sync(info.Env(), [&] {
              if (*live >= 0) DetachExecStream(*live);
            });
          }));
  out.Set("kill", Napi::Function::New(env, [live](const Napi::CallbackInfo&) {
            if (*live >= 0) shutdown(*live, SHUT_WR);
          }));
}

Napi::Value StreamToJs(Napi::Env env, ExecStream stream) {
  Napi::Object out = Napi::Object::New(env);
  const auto live = std::make_shared<int>(-1);
  // First, because it may fail; what follows gives descriptors away.
  out.Set("ended", AwaitEnd(env, stream, live));
  out.Set("pid", Napi::Number::New(env, stream.pid));
  out.Set("stdin", Given(env, stream.in));
  out.Set("stdout", Given(env, stream.out));
  out.Set("stderr", Given(env, stream.err));
  out.Set("terminal", Given(env, stream.terminal));
  AddOrders(env, out, live);
  return out;
}

Napi::Value ContainerExecStream(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto from = info[3].As<Napi::Object>();
  ExecOptions options;
  options.cgroup = Text(from.Get("cgroup"));
  options.privileged = Flag(from.Get("privileged"));
  options.stream = StreamWish{.terminal = Flag(from.Get("terminal")),
                              .detached = Flag(from.Get("detached")),
                              .rows = Cells(from.Get("rows"), "rows"),
                              .columns = Cells(from.Get("columns"), "columns")};
  auto start = [pid = info[0].As<Napi::Number>().Int32Value(), ticks = Whole(info[1]),
                process = Text(info[2]), options, has_stdin = Flag(from.Get("stdin")),
                shim = Text(from.Get("shimPath"))] {
    return StartExecStream(pid, ticks, process, options, has_stdin, shim);
  };
  return Async(env, start, [](Napi::Env e, ExecStream stream) { return StreamToJs(e, std::move(stream)); });
}

Napi::Value ListeningToJs(Napi::Env env, Listening listening) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("isTerminal", Napi::Boolean::New(env, listening.is_terminal));
  out.Set("takesInput", Napi::Boolean::New(env, listening.takes_input));
  out.Set("io", Given(env, listening.io));
  out.Set("stderr", Given(env, listening.err));
  return out;
}

Napi::Value ContainerAttach(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [dir = Text(info[0]), feeds = Flag(info[1])] { return AttachContainer(dir, feeds); },
      [](Napi::Env env, Listening listening) { return ListeningToJs(env, std::move(listening)); });
}

Napi::Value ContainerResize(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [dir = Text(info[0]), rows = Cells(info[1], "rows"),
                            columns = Cells(info[2], "columns")] { ResizeContainer(dir, rows, columns); });
}

Napi::Value WaitingBytesOf(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), WaitingBytes(info[0].As<Napi::Number>().Int32Value()));
}

}  // namespace

void RegisterExec(Napi::Object exports) {
  Export<ContainerExecStream>(exports, "containerExecStream");
  Export<ContainerAttach>(exports, "containerAttach");
  Export<ContainerResize>(exports, "containerResize");
  Export<WaitingBytesOf>(exports, "waitingBytes");
}

}  // namespace covey
