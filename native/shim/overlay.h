// The container's root file system from image layers.
#pragma once

#include "failure.h"
#include "plan.h"

/**
 * Makes the overlay of a PLAN_OVERLAY record as an unattached mount. With `userns` >= 0 the layers' files belong to the
 * ids that namespace maps them to; the writable layer is taken as it is, so its top folder must belong to the range.
 * Runs with the host's rights. Source: kernel docs, filesystems/overlayfs and filesystems/idmappings.
 */
int overlay_make(const struct plan_record* record, int userns, int* mounted, struct failure* failure);

/**
 * Closes the layers that overlay_make has mapped, when nothing is urgent: with each the kernel dissolves a mount and waits
 * for all its readers, for longer than it takes to make the overlay. The overlay keeps what it needs of them.
 */
void overlay_let_go(void);
