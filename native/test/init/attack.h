// Verbs that try what a container must not be able to do, or tell what the kernel keeps of this process.
#pragma once

/** Runs a verb of attack.c; -1 when it knows none of that name. Otherwise the exit status: 0, or the errno it got. */
int attack(int argc, char** argv);
