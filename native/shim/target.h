// Paths of a container, resolved beneath its root: no link in an image or volume leads out of it.
#pragma once

#include <stdint.h>

/** Opens `path` with O_CLOEXEC and the flags of openat2(2) given; -1 with errno. */
int beneath(int root, const char* path, uint64_t flags, uint64_t resolve);

/** The part of a path after its last slash. */
const char* last_part(const char* path);

/** Makes the folders of `path` that are missing, up to its last part when `all` is 0, each beneath the root. An O_PATH
 * descriptor of the last one, or -1 with errno. */
int make_folders(int root, const char* path, int all, uint64_t resolve);

/**
 * The folder above the last part of `path`, its missing parents made: an O_PATH descriptor that stays ours, good until the next
 * call here; -1 with errno.
 */
int folder_above(int root, const char* path);

/** What was found may have been mounted over. */
void forget_folder(void);

/** An O_PATH descriptor of the target, made as folder or empty file when it is missing. */
int open_target(int root, const char* path, int folder, uint64_t resolve);
