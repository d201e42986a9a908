#include "id_maps.h"

#include <nlohmann/json.hpp>

#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

// Source: user_namespaces(7), "Defining user and group ID mappings".
constexpr size_t kLinesMax = 340;
constexpr size_t kBytesMax = 4095;
constexpr int64_t kIdEnd = 4294967295;  // the last id means "none"

uint32_t IdIn(const json& range, const char* key, const std::string& field) {
  const int64_t value = NumberOr(range, key, -1);
  if (value < 0 || value >= kIdEnd) throw InvalidInput(field + "." + key, "is missing or out of range");
  return static_cast<uint32_t>(value);
}

bool Overlap(uint32_t a, uint32_t b, uint32_t size_a, uint32_t size_b) {
  return uint64_t{a} < uint64_t{b} + size_b && uint64_t{b} < uint64_t{a} + size_a;
}

}  // namespace

IdMap::IdMap(const json& mappings, const std::string& field) : field_(field) {
  if (mappings.empty()) throw InvalidInput(field, "is missing: a user namespace needs it");
  if (mappings.size() > kLinesMax) throw InvalidInput(field, "has more than the kernel's 340 ranges");
  for (const json& item : mappings) {
    if (!item.is_object()) throw InvalidInput(field, "must hold objects");
    const IdRange range{IdIn(item, "containerID", field), IdIn(item, "hostID", field),
                        IdIn(item, "size", field)};
    if (range.size == 0) throw InvalidInput(field + ".size", "must be at least 1");
    if (int64_t{range.container} + range.size > kIdEnd || int64_t{range.host} + range.size > kIdEnd)
      throw InvalidInput(field + ".size", "reaches beyond the last id");
    for (const IdRange& other : ranges_) {
      if (Overlap(range.container, other.container, range.size, other.size))
        throw InvalidInput(field + ".containerID", "two ranges overlap");
      if (Overlap(range.host, other.host, range.size, other.size))
        throw InvalidInput(field + ".hostID", "two ranges overlap");
    }
    ranges_.push_back(range);
  }
  if (Lines().size() > kBytesMax) throw InvalidInput(field, "is longer than the page the kernel takes");
}

uint32_t IdMap::HostId(uint32_t id, const std::string& what) const {
  for (const IdRange& range : ranges_) {
    if (id >= range.container && id - range.container < range.size)
      return range.host + (id - range.container);
  }
  throw InvalidInput(what, "id " + std::to_string(id) + " is not in " + field_);
}

std::string IdMap::Lines() const {
  std::string lines;
  for (const IdRange& range : ranges_) {
    lines += std::to_string(range.container) + " " + std::to_string(range.host) + " " +
             std::to_string(range.size) + "\n";
  }
  return lines;
}

}  // namespace covey
