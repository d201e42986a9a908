// Verbs of a hostile process that waits for commands which join its container.
#pragma once

/** Runs a verb of attack_join.c; -1 when it knows none of that name. Otherwise the exit status: 0, or the errno it got. */
int attack_join(int argc, char** argv);
