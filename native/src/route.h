// Routes and policy rules that we own, told from everybody else's by their protocol number. Source: rtnetlink(7).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace covey {

/** With neither gateway nor device it leads nowhere: packets are refused with "unreachable". */
struct Route {
  /** `ADDRESS/LENGTH`; `0.0.0.0/0` is the default route. */
  std::string destination;
  /** Empty: the destination is on the link itself. */
  std::string gateway;
  std::string device;
  uint32_t table = 0;
  /** Empty: the kernel chooses. */
  std::string source;
};

/** `from SOURCE fwmark MARK lookup TABLE` */
struct Rule {
  uint32_t priority = 0;
  std::string source;
  uint32_t mark = 0;
  uint32_t table = 0;
};

/** Something that could not be set. */
struct Refusal {
  size_t index = 0;
  int error = 0;
  std::string text;
};

/** Routes of all tables whose protocol is `protocol`, without those of the kernel's cache. */
std::vector<Route> Routes(uint8_t protocol);
/** Sets (adds or replaces), then removes routes; an absent one is no failure to remove. Refusals are of `set`. */
std::vector<Refusal> ChangeRoutes(uint8_t protocol, const std::vector<Route>& set,
                                  const std::vector<Route>& remove);
/** Rules whose protocol is `protocol`. */
std::vector<Rule> Rules(uint8_t protocol);
/** Like ChangeRoutes; a rule that is there already is no failure. Throws SysError when one is refused. */
void ChangeRules(uint8_t protocol, const std::vector<Rule>& add, const std::vector<Rule>& remove);

}  // namespace covey
