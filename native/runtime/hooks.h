// The hooks that run in the runtime's namespaces after the container was started or is gone.
#pragma once

#include "record.h"
#include "runtime.h"

namespace covey {

/** Runs "poststart" or "poststop" hooks in order. One that fails is a warning, the others still run. Source: runtime.md,
 * "Lifecycle". */
void RunHooksAfter(const Runtime& runtime, const Record& record, const char* kind);

}  // namespace covey
