// What is asked on the control socket: "covey VERSION VERB [NUMBER [NUMBER]]".
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

struct request {
  long version;      // 0 = not our language
  const char* verb;  // in the text that was read
  int number;
  int second;
};

/** Takes a request apart in place. */
struct request request_read(char* text);

#ifdef __cplusplus
}
#endif
