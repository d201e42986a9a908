// The process that shims are copied from; shim/template.h says why.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "fd.h"
#include "shim_process.h"

namespace covey {

constexpr std::chrono::seconds kTemplatePatience{kShimAnswerTimeout.tv_sec};

/** Any thread's. One for each program, for as long as this process lives; its end is the template's too. */
class ShimTemplate {
 public:
  explicit ShimTemplate(const std::string& program);
  ~ShimTemplate();
  ShimTemplate(const ShimTemplate&) = delete;
  ShimTemplate& operator=(const ShimTemplate&) = delete;

  /** A shim on its way. */
  struct Copy {
    std::shared_ptr<ShimTemplate> from;
    uint64_t ticket = 0;

    /** Waits until it is made: a child of ours, which the caller reaps. Throws SysError; what is made all the same is then
     * ended and reaped by whoever waits next. */
    pid_t Take(std::chrono::milliseconds patience = kTemplatePatience) const {
      return from->Take(ticket, patience);
    }
  };

  /** Has a shim of `program` made whose descriptor 3 is `door`; does not wait for it. Throws SysError. */
  static Copy Begin(const std::string& program, const std::string& id, int door);

 private:
  static std::shared_ptr<ShimTemplate> Of(const std::string& program,
                                          const std::shared_ptr<ShimTemplate>& dead);
  using Time = std::chrono::steady_clock::time_point;

  uint64_t Ask(const std::string& id, int door);
  pid_t Take(uint64_t ticket, std::chrono::milliseconds patience);
  pid_t Await(uint64_t ticket, Time until, std::unique_lock<std::mutex>& held);
  void Hear(Time until, std::unique_lock<std::mutex>& held);

  Fd socket_;
  pid_t pid_ = 0;
  std::atomic<uint64_t> tickets_ = 0;
  /** Never held while anything is waited for. */
  std::mutex lock_;
  std::condition_variable heard_;
  bool is_heard_ = false;
  /** What was made for whom, until they take it: the pid, or -errno. */
  std::map<uint64_t, pid_t> made_;
  /** Those who wait no longer; what is made for them all the same is reaped. */
  std::set<uint64_t> gone_;
};

}  // namespace covey
