// Writes the shim's plan; the format is native/shim/plan.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../shim/plan.h"

namespace covey {

/** Collects records in order. Throws InvalidInput for text with a NUL in it and for a plan that grows too large. */
class PlanWriter {
 public:
  /** Starts a record; fields follow. `field` is what to name in an error, for instance "process.cwd". */
  PlanWriter& Op(plan_op op, std::string field = "");
  PlanWriter& Text(const std::string& text);
  PlanWriter& Number(uint64_t number);
  PlanWriter& List(const std::vector<std::string>& texts);
  PlanWriter& Bytes(const void* bytes, size_t length);

  /** The whole plan with its header. */
  std::string Finish();

 private:
  void EndRecord();

  std::string out_ = std::string(8, '\0');
  size_t record_ = 0;  // where the open record starts; 0 = none
  uint16_t fields_ = 0;
  std::string field_;
};

}  // namespace covey
