// What the demo program does besides serving.
#pragma once

#include <stdint.h>

/** $PORT, or 80. */
uint16_t server_port(void);

/** Asks the server in this container for /healthz. Returns the exit code. */
int check(void);

/** Prints `line 1`, `line 2`, … at `per_second`, for ever. */
int lines(int per_second);

/** `sh -c "WORDS"`: enough of a shell for Docker's CMD-SHELL in an image without one: runs one program, `exit N`, no more. */
int shell(int argc, char** argv);
