#pragma once

namespace units_cut {

/** Runs the checks on cutting a config's text; prints what fails and gives how many did. */
int Failures();

}  // namespace units_cut
