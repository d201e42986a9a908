// Verbs of the test init that try to get out through mounts, ids and keys.
#pragma once

/** Runs the verb; gives its exit code, or -1 when it is none of these. */
int attack_mounts(int argc, char** argv);
