// Connections as the kernel tracks them. Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
#pragma once

#include <cstdint>
#include <string>

namespace covey {

/**
 * Connections open *to* an address, whatever address the client spoke to: TCP that both sides have not yet closed, UDP
 * that was answered and has spoken within `udp_recent_seconds`.
 */
uint32_t CountConnections(const std::string& address, uint32_t udp_recent_seconds);

/** Which connections to forget. */
struct ConnectionFilter {
  std::string address;
  /** Those that come from the address as well as those that go to it. */
  bool both_directions = false;
  /** IPPROTO_*; 0 = any. */
  uint8_t protocol = 0;
  /** Port that the client spoke to; 0 = any. */
  uint16_t published = 0;
};

/** Forgets them; returns how many. One that ended meanwhile is fine. */
uint32_t ForgetConnections(const ConnectionFilter& filter);

}  // namespace covey
