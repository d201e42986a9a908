// The door to a shim: the socket on which its container's whole life is told, heard on Node's own loop. To one of our making it
// is what took the plan, to another's a connection to its control socket.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "container.h"
#include "poll.h"

namespace covey {

/** A process as its number alone does not name it: numbers come again. */
using ProcessName = std::pair<pid_t, uint64_t>;

/** Main thread only. Lives while the shim holds its end and somebody here is interested. */
class ShimDoor : public std::enable_shared_from_this<ShimDoor> {
 public:
  using Convert = std::function<Napi::Value(Napi::Env, const ContainerIdentity&)>;

  /** The promise of what `convert` makes of a container on its way. */
  static Napi::Value AwaitContainer(Napi::Env env, NewContainer made, const Convert& convert);

  /** The container of another's making that is attended on `connection`. Gives `{ retire, release }`, which do nothing without one.
   * @param shim  whose end is told by it; {} is nobody's */
  static Napi::Value Attend(Napi::Env env, const std::string& state_dir, Fd connection,
                            const ProcessName& shim);

  /** That of a container that we attend, or have made; null when its end was heard. */
  static std::shared_ptr<ShimDoor> Of(const std::string& state_dir);
  static std::shared_ptr<ShimDoor> Of(const ProcessName& shim);

  /** An answer is on its way; one is asked at a time. */
  bool IsAsked() const { return static_cast<bool>(heard_); }
  bool IsWatched() const { return static_cast<bool>(told_); }
  /** Lets the command run; the container is attended from then on. The promise of `{ retire, release }`. */
  Napi::Value Begin(Napi::Env env);
  /** `told` is called once, when the container's end is on the disk. */
  void OnEnd(std::function<void()> told);
  /** Nobody is to be told any more. */
  void Forget();

 private:
  using Heard = std::function<void(const std::string& answer)>;
  using Late = std::function<void()>;

  ShimDoor(Napi::Env env, std::string state_dir) : env_(env), state_dir_(std::move(state_dir)) {}
  void Open(Fd fd);
  /** `heard` is given the next answer, "" when the shim ends without one; or `late` is called after a minute. */
  void Await(Heard heard, Late late);
  bool Hear(int fd);
  void Say(const char* verb) const;
  void Register(const ProcessName& shim);
  void Unregister();
  Napi::Value AttendanceToJs();
  void Release();
  void HoldIfWanted();
  void Close();

  napi_env env_;
  std::string state_dir_;
  ProcessName shim_;
  Poll* poll_ = nullptr;
  int fd_ = -1;
  Heard heard_;
  Timer* late_ = nullptr;
  std::function<void()> told_;
  bool attends_ = false;
  bool is_anothers_ = false;
};

}  // namespace covey
