#include "plan_writer.h"

#include <cstring>

#include "sys_error.h"

namespace covey {

PlanWriter& PlanWriter::Op(plan_op op, std::string field) {
  EndRecord();
  record_ = out_.size();
  field_ = std::move(field);
  fields_ = 0;
  const auto code = static_cast<uint16_t>(op);
  out_.append(reinterpret_cast<const char*>(&code), 2);
  out_.append(6, '\0');
  return *this;
}

PlanWriter& PlanWriter::Bytes(const void* bytes, size_t length) {
  if (length > PLAN_BYTES_MAX || out_.size() + length > PLAN_BYTES_MAX) {
    throw InvalidInput(field_.empty() ? "config" : field_,
                       "is too large: a container's config ends at 8 MiB");
  }
  const auto size = static_cast<uint32_t>(length);
  out_.append(reinterpret_cast<const char*>(&size), 4);
  out_.append(static_cast<const char*>(bytes), length);
  do out_.push_back('\0');
  while (out_.size() % PLAN_FIELD_ALIGN != 0);
  fields_++;
  return *this;
}

PlanWriter& PlanWriter::Text(const std::string& text) {
  if (text.find('\0') != std::string::npos) {
    throw InvalidInput(field_.empty() ? "config" : field_, "contains a NUL character");
  }
  return Bytes(text.data(), text.size());
}

PlanWriter& PlanWriter::Number(uint64_t number) { return Bytes(&number, sizeof number); }

PlanWriter& PlanWriter::List(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos) {
      throw InvalidInput(field_.empty() ? "config" : field_, "contains a NUL character");
    }
    joined += text;
    joined.push_back('\0');
  }
  return Bytes(joined.data(), joined.size());
}

void PlanWriter::EndRecord() {
  if (record_ == 0) return;
  const auto bytes = static_cast<uint32_t>(out_.size() - record_ - 8);
  memcpy(&out_[record_ + 2], &fields_, 2);
  memcpy(&out_[record_ + 4], &bytes, 4);
  record_ = 0;
}

std::string PlanWriter::Finish() {
  EndRecord();
  const uint32_t magic = PLAN_MAGIC;
  const auto bytes = static_cast<uint32_t>(out_.size() - 8);
  memcpy(&out_[0], &magic, 4);
  memcpy(&out_[4], &bytes, 4);
  return out_;
}

}  // namespace covey
