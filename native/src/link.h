// Network links: the veth pair of a container, and what the host has. Source: rtnetlink(7), veth(4).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace covey {

/** A container's routed link: a /32 inside, a link-local gateway that only exists as a neighbour entry. */
struct VethPlan {
  /** Of the host end; at most 15 characters. */
  std::string name;
  /** Whose network namespace gets `eth0`. */
  pid_t pid = 0;
  std::string address;
  std::string gateway;
  uint32_t mtu = 0;
  std::string host_mac;
  std::string container_mac;
  /** The host's own address: source of what the host itself sends to the container. */
  std::string host_address;
  /** Owner mark of the host's route (RTA_PROTOCOL). */
  uint8_t protocol = 0;
  /** Bits a second from and to the container, all headers counted; 0 = no limit. */
  uint64_t egress_bits = 0;
  uint64_t ingress_bits = 0;
};

/**
 * Makes the pair, furnishes the namespace (lo, eth0, address, default route, permanent neighbour) and the host's end
 * (up, /32 route, permanent neighbour, no redirects, no IPv6). A link of that name that is still there, from an
 * earlier run, is renamed away and deleted. Throws SysError; then the pair is gone again.
 */
void AttachVeth(const VethPlan& plan);

/** Deletes a link; false when there is none. The kernel takes some 30 ms: never wait for it on a path that matters. */
bool DeleteLink(const std::string& name);

struct Link {
  int index = 0;
  std::string name;
  /** Lower case with colons; empty when it has none of six bytes. */
  std::string mac;
  uint32_t mtu = 0;
  bool up = false;
  /** IPv4 addresses `ADDRESS/LENGTH`. */
  std::vector<std::string> addresses;
};

/** All links of this process' network namespace. */
std::vector<Link> Links();

}  // namespace covey
