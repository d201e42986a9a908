// `tmpcopyup`: a tmpfs that begins with what lay at its place.
#pragma once

#include "failure.h"
#include "plan.h"

/**
 * Copies what lies below `from` into the unattached mount `to`: folders, files, links and pipes with owner, mode and times; no
 * extended attributes, no second names of one file. `options` are the tmpfs': with `mode=`, `uid=` or `gid=` among them its
 * top folder keeps what they say. Neither side may change meanwhile; no link is followed. 0, or -1 with `failure`.
 */
int copy_up(int from, int to, const struct plan_field* options, struct failure* failure);
