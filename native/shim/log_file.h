// The files of a log. The newest has the log's own name; a file that is full is renamed to NAME.00000001,
// NAME.00000002, … for good: its number never changes, so that the agent may compress it (NAME.00000001.gz) and readers
// know their place while we go on.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define LOG_NAME_MAX 200

struct log_file {
  int folder;
  int fd;
  uint64_t size;
  uint64_t size_max;
  unsigned files;   // kept, the newest included
  unsigned number;  // of the file that was last put aside; 0 = none yet
  unsigned long long
      dropped;  // lines that no disk took, not mentioned yet; atomic, a ring's thread adds to it
  char name[LOG_NAME_MAX];
};

/** Opens the newest file for appending; its folder holds no older ones. 0, or -1 with errno. */
int log_file_open(struct log_file* file, const char* path, uint64_t size_max, unsigned files);

/** Writes whole lines (each ends in a newline) and rotates between them: no file grows beyond size_max but for a line
 * that is longer. A line that no longer fits on the disk is taken back whole and counted as dropped: none is torn. */
void log_file_put(struct log_file* file, const char* lines, size_t bytes);
