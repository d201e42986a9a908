// Users of an image by name, looked up beneath its root.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace covey {

struct ImageUser {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> additional_gids;
  std::string home;  // "/" when unknown
};

/**
 * Resolves `name|uid[:group|gid]` in /etc/passwd and /etc/group of the image whose layers (topmost first) are given.
 * Links are followed inside the image only. A number needs no entry. Throws InvalidInput naming the user that is
 * missing. Source: Docker's USER instruction; passwd(5), group(5).
 */
ImageUser LookUpUser(const std::vector<std::string>& layers, const std::string& user);

/** The same on the text of the two files; for tests. */
ImageUser FindUser(const std::string& passwd, const std::string& group, const std::string& user);

}  // namespace covey
