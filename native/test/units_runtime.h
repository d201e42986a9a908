// Checks of what covey-runtime reads, called by units.cc.
#pragma once

namespace units_runtime {

/** Runs them; the number that failed. */
int Failures();

}  // namespace units_runtime
