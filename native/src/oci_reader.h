// Reading an OCI config without surprises: absent and null are the same, a wrong type names its field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sys_error.h"

namespace covey {

inline const nlohmann::json& ObjectOr(const nlohmann::json& from, const char* key) {
  static const nlohmann::json empty = nlohmann::json::object();
  const auto found = from.find(key);
  if (found == from.end() || found->is_null()) return empty;
  if (!found->is_object()) throw InvalidInput(key, "must be an object");
  return *found;
}

inline const nlohmann::json& ArrayOr(const nlohmann::json& from, const char* key) {
  static const nlohmann::json empty = nlohmann::json::array();
  const auto found = from.find(key);
  if (found == from.end() || found->is_null()) return empty;
  if (!found->is_array()) throw InvalidInput(key, "must be an array");
  return *found;
}

inline std::string TextOr(const nlohmann::json& from, const char* key, const std::string& fallback) {
  const auto found = from.find(key);
  if (found == from.end() || found->is_null()) return fallback;
  if (!found->is_string()) throw InvalidInput(key, "must be text");
  return found->get<std::string>();
}

inline int64_t NumberOr(const nlohmann::json& from, const char* key, int64_t fallback) {
  const auto found = from.find(key);
  if (found == from.end() || found->is_null()) return fallback;
  if (!found->is_number_integer()) throw InvalidInput(key, "must be an integer");
  return found->get<int64_t>();
}

inline bool FlagOr(const nlohmann::json& from, const char* key, bool fallback) {
  const auto found = from.find(key);
  if (found == from.end() || found->is_null()) return fallback;
  if (!found->is_boolean()) throw InvalidInput(key, "must be true or false");
  return found->get<bool>();
}

inline std::vector<std::string> TextsOr(const nlohmann::json& from, const char* key) {
  std::vector<std::string> texts;
  for (const nlohmann::json& item : ArrayOr(from, key)) {
    if (!item.is_string()) throw InvalidInput(key, "must hold text only");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

}  // namespace covey
