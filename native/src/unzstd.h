// Unpacks zstd, a step at a time, into memory that the caller gives.
#pragma once

#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace covey {

/** What one step has done. */
struct UnzstdStep {
  size_t read = 0;
  size_t written = 0;
  /** Nothing is owed: a frame has ended here, or none has begun. */
  bool between = true;
  /** What is wrong with the bytes; empty: nothing. */
  std::string fault;
  /** It is wrong only because it wants more memory than it may have. */
  bool wants_memory = false;
};

/** Frames one after the other, skippable ones too. Source: RFC 8878; zstd.h, "Streaming decompression". */
class Unzstd {
 public:
  /** `window_log_max`: what a frame may look back on, as a power of two. Throws std::bad_alloc. */
  explicit Unzstd(int window_log_max);

  /** Reads from `in` until it is used up or `out` is full. */
  UnzstdStep Step(const uint8_t* in, size_t in_size, uint8_t* out, size_t out_size);

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool between_ = true;
};

}  // namespace covey
