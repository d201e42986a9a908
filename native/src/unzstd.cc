#include "unzstd.h"

#include <zstd_errors.h>

#include <new>

namespace covey {

Unzstd::Unzstd(int window_log_max) : context_(ZSTD_createDCtx()) {
  if (!context_) throw std::bad_alloc();
  ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, window_log_max);
}

UnzstdStep Unzstd::Step(const uint8_t* in, size_t in_size, uint8_t* out, size_t out_size) {
  UnzstdStep step;
  // Asked again with nothing, the library would begin a frame that nobody has begun.
  if (between_ && in_size == 0) return step;
  ZSTD_inBuffer input{in, in_size, 0};
  ZSTD_outBuffer output{out, out_size, 0};
  // At least once: what is owed may come out without anything going in.
  do {
    const size_t left = ZSTD_decompressStream(context_.get(), &output, &input);
    if (ZSTD_isError(left) != 0) {
      step.fault = ZSTD_getErrorName(left);
      step.wants_memory = ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge;
      break;
    }
    between_ = left == 0;
  } while (input.pos < input.size && output.pos < output.size);
  step.read = input.pos;
  step.written = output.pos;
  step.between = between_;
  return step;
}

}  // namespace covey
