#pragma once

namespace units_filters {

/** Runs the checks on shaped filters; prints what fails and gives how many did. `default_profile`: its path. */
int Failures(const char* default_profile);

}  // namespace units_filters
