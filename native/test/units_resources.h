#pragma once

namespace units_resources {

/** Runs the checks on linux.resources; prints what fails and gives how many did. */
int Failures();

}  // namespace units_resources
