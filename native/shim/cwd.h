// The working directory of a command. Its path is the image's or the user's, so that no link of /proc is followed on the
// way, which might lead out of the container (CVE-2024-21626).
#pragma once

#include "failure.h"

/** The folder exists afterwards, made as whoever calls, root's for a start, when it is missing, as Docker does. One that
 * the caller may not look into is left to `cwd_enter`. 0, or -1 with `failure` filled. */
int cwd_make(const char* path, struct failure* failure);

/** Enters it, and proves that it lies inside. 0, or -1 with `failure` filled. */
int cwd_enter(const char* path, struct failure* failure);
