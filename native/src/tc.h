// Rates of network links. Source: tc-tbf(8); include/uapi/linux/pkt_sched.h.
#pragma once

#include <cstdint>

#include "netlink.h"

namespace covey {

/**
 * The message that lets no more than `bits` a second leave through the link: a token bucket of 10 ms as its root queue,
 * with 100 ms of packets waiting at most. Run in the link's namespace; whoever may administer that can take it away.
 */
NetlinkMessage RateLimit(int index, uint64_t bits, uint32_t mtu, const char* name);

}  // namespace covey
