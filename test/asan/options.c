// The sanitizers' own settings, compiled in: nothing of an environment reaches the shim. A finding ends the process by
// SIGABRT, so that a test fails even where its text has nowhere to go, as behind the container's root.
#define COMMON "abort_on_error=1:log_path=" REPORTS

const char* __asan_default_options(void) { return COMMON ":detect_leaks=0"; }

const char* __ubsan_default_options(void) { return COMMON ":print_stacktrace=1"; }
