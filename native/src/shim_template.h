// The process that shims are copied from; shim/template.h says why.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "fd.h"

namespace covey {

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

    /** Waits until it is made: a child of ours, which the caller reaps. Throws SysError. */
    pid_t Take() const { return from->Take(ticket); }
  };

  /** Has a shim of `program` made whose descriptor 3 is `door`; does not wait for it. Throws SysError. */
  static Copy Begin(const std::string& program, const std::string& id, int door);

 private:
  static std::shared_ptr<ShimTemplate> Of(const std::string& program,
                                          const std::shared_ptr<ShimTemplate>& dead);
  uint64_t Ask(const std::string& id, int door);
  pid_t Take(uint64_t ticket);

  Fd socket_;
  pid_t pid_ = 0;
  std::mutex lock_;
  uint64_t tickets_ = 0;
  std::map<uint64_t, pid_t> made_;
};

}  // namespace covey
