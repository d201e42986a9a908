// Connections as the kernel tracks them. Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace covey {

/**
 * Connections open *to* an address, whatever address the client spoke to: TCP that both sides have not yet closed, UDP
 * that was answered and has spoken within `udp_recent_seconds`.
 */
uint32_t CountConnections(const std::string& address, uint32_t udp_recent_seconds);

/** Which connections to an address to forget. */
struct ConnectionFilter {
  std::string address;
  /** IPPROTO_*; 0 = any. */
  uint8_t protocol = 0;
  /** Port that the client spoke to; 0 = any. */
  uint16_t published = 0;
};

/** Forgets them; returns how many. One that ended meanwhile is fine. */
uint32_t ForgetConnections(const ConnectionFilter& filter);

/** The same for all that go to one of these addresses or come from it. */
uint32_t ForgetAddresses(const std::vector<std::string>& addresses);

/** The same for all that go to or come from an address in `block` (CIDR) that is not among `kept`. */
uint32_t ForgetBlock(const std::string& block, const std::vector<std::string>& kept);

}  // namespace covey
