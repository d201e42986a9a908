#include "shim_door.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>

#include "async.h"
#include "js_error.h"
#include "shim_process.h"
#include "sys_error.h"

namespace covey {
namespace {

/** What a shim says unasked: its container's end is on the disk, and ours to follow up if we take it. Source: control.c. */
constexpr std::string_view kEnded = "ended";
constexpr uint64_t kAnswerMs = static_cast<uint64_t>(kShimAnswerTimeout.tv_sec) * 1000;

using Doors = std::map<ProcessName, std::shared_ptr<ShimDoor>>;

Doors& OpenDoors() {
  static Doors doors;
  return doors;
}

std::exception_ptr TooLate() { return std::make_exception_ptr(SysError{ETIMEDOUT, "recv", "covey-shim"}); }

}  // namespace

Napi::Value ShimDoor::AwaitContainer(Napi::Env env, NewContainer made, const Convert& convert) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  const std::shared_ptr<ShimDoor> door(new ShimDoor(env, made.state_dir));
  const pid_t shim = made.shim;
  auto give_up = [raw = napi_env(env), deferred, shim](std::exception_ptr failure) {
    deferred.Resolve(Async(raw, [shim, failure = std::move(failure)] { GiveUpContainer(shim, failure); }));
  };
  try {
    door->Open(std::move(made.door));
  } catch (...) {
    give_up(std::current_exception());
    return deferred.Promise();
  }
  ShimDoor* self = door.get();
  door->Await(
      [self, deferred, convert, give_up](const std::string& answer) {
        try {
          const ContainerIdentity identity = UnderstandContainer(answer);
          self->Register({identity.shim_pid, identity.shim_start_time});
          deferred.Resolve(convert(self->env_, identity));
        } catch (...) {
          const std::exception_ptr failure = std::current_exception();
          self->Close();
          give_up(failure);
        }
      },
      [self, give_up] {
        self->Close();
        give_up(TooLate());
      });
  return deferred.Promise();
}

Napi::Value ShimDoor::Attend(Napi::Env env, const std::string& state_dir, Fd connection,
                             const ProcessName& shim) {
  const std::shared_ptr<ShimDoor> door(new ShimDoor(env, state_dir));
  if (connection) {
    fcntl(connection.get(), F_SETFL, O_NONBLOCK);
    door->Open(std::move(connection));
    door->attends_ = door->is_anothers_ = true;
    door->Register(shim);
    door->HoldIfWanted();
  }
  return door->AttendanceToJs();
}

void ShimDoor::Register(const ProcessName& shim) {
  shim_ = shim;
  if (shim_.first > 0) OpenDoors()[shim_] = shared_from_this();
}

/** Another connection to the same shim may be the one that is found by now. */
void ShimDoor::Unregister() {
  const auto found = OpenDoors().find(shim_);
  if (found != OpenDoors().end() && found->second.get() == this) OpenDoors().erase(found);
}

/** { retire(): void, release(): void }; both may be called at any time, also twice. */
Napi::Value ShimDoor::AttendanceToJs() {
  const std::shared_ptr<ShimDoor> self = shared_from_this();
  Napi::Object out = Napi::Object::New(env_);
  out.Set("retire", Napi::Function::New(env_, [self](const Napi::CallbackInfo&) { self->Say("retire"); }));
  out.Set("release", Napi::Function::New(env_, [self](const Napi::CallbackInfo&) { self->Release(); }));
  return out;
}

std::shared_ptr<ShimDoor> ShimDoor::Of(const ProcessName& shim) {
  const auto found = OpenDoors().find(shim);
  return found == OpenDoors().end() ? nullptr : found->second;
}

std::shared_ptr<ShimDoor> ShimDoor::Of(const std::string& state_dir) {
  for (const auto& [shim, door] : OpenDoors()) {
    if (door->state_dir_ == state_dir) return door;
  }
  return nullptr;
}

void ShimDoor::Open(Fd fd) {
  fd_ = fd.get();
  poll_ =
      Poll::Start(env_, std::move(fd), [self = shared_from_this()](int from) { return self->Hear(from); });
}

Napi::Value ShimDoor::Begin(Napi::Env env) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  attends_ = true;
  Await(
      [this, deferred](const std::string& answer) {
        try {
          Understand(answer);
        } catch (...) {
          deferred.Reject(JsError(env_, std::current_exception()).Value());
          return;
        }
        deferred.Resolve(AttendanceToJs());
      },
      [this, deferred] { deferred.Reject(JsError(env_, TooLate()).Value()); });
  Say("begin");
  return deferred.Promise();
}

void ShimDoor::OnEnd(std::function<void()> told) {
  told_ = std::move(told);
  HoldIfWanted();
}

void ShimDoor::Forget() {
  told_ = nullptr;
  HoldIfWanted();
}

void ShimDoor::Release() {
  if (!attends_) return;
  attends_ = false;
  // The end of one that we have made is told by its door; that of another's by its process.
  if (is_anothers_ && !IsAsked()) return Close();
  Say("release");
  HoldIfWanted();
}

void ShimDoor::Await(Heard heard, Late late) {
  heard_ = std::move(heard);
  late_ = Timer::Start(env_, kAnswerMs, [this, late = std::move(late)] {
    const std::shared_ptr<ShimDoor> self = shared_from_this();
    std::exchange(late_, nullptr)->Stop();
    heard_ = nullptr;
    late();
    HoldIfWanted();
  });
  HoldIfWanted();
}

/** Whatever happens in it, the function that it runs in lives until it returns: the poll deletes itself later. */
bool ShimDoor::Hear(int fd) {
  char answer[kShimAnswerMax];
  const ssize_t n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n > 0 && std::string_view(answer, static_cast<size_t>(n)) == kEnded) {
    Say("taken");
    return true;
  }
  const bool has_ended = n <= 0;
  if (has_ended) {
    poll_ = nullptr;
    fd_ = -1;
    Unregister();
  }
  if (late_ != nullptr) std::exchange(late_, nullptr)->Stop();
  if (heard_) std::exchange(heard_, nullptr)(std::string(answer, has_ended ? 0 : static_cast<size_t>(n)));
  if (!has_ended) {
    HoldIfWanted();
    return true;
  }
  if (told_) std::exchange(told_, nullptr)();
  return false;
}

void ShimDoor::Say(const char* verb) const {
  const std::string request = std::string(kShimLanguage) + verb;
  // A shim that cannot take it has ended, or hangs with its disk; what waits for an answer learns of either.
  if (fd_ >= 0) static_cast<void>(send(fd_, request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

void ShimDoor::HoldIfWanted() {
  if (poll_ == nullptr) return;
  const bool is_waited_for = static_cast<bool>(heard_) || static_cast<bool>(told_);
  poll_->Hold(is_waited_for);
}

void ShimDoor::Close() {
  Unregister();
  fd_ = -1;
  if (poll_ != nullptr) std::exchange(poll_, nullptr)->Stop();
}

}  // namespace covey
