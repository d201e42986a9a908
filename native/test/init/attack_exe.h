#pragma once

/** The verb of attack_exe.c; -1 when it is another. */
int attack_exe(int argc, char** argv);
