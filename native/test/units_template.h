// Checks of what shims are copied from, called by units.cc.
#pragma once

#include <string>

namespace units_template {

/** Runs them; the number that failed. `shim` is the program. */
int Failures(const std::string& shim);

}  // namespace units_template
