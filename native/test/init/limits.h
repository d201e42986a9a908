// What a container does to its limits, for tests.
#pragma once

/** Runs the verb in argv[1] if it is one of these; its exit status, or -1 for another verb. */
int limits_verb(int argc, char** argv);

/** Says "ready", then waits for SIGTERM. */
int sleep_until_term(void);
