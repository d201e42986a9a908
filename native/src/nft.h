// nftables through libnftables, in this process.
#pragma once

#include <cstdint>
#include <string>

namespace covey {

/**
 * Runs a script as `nft -f` would: one transaction, all or nothing. Returns its output (JSON when `json`). One at a
 * time, some milliseconds: never on the main thread. Throws SysError with nft's own words; ENOENT when the library
 * is not installed.
 */
std::string RunNft(const std::string& script, bool json);

/** The number of the ruleset's last change, by anybody, in this network namespace. */
uint32_t NftGeneration();

}  // namespace covey
