// Processes of the host: identity by pid and start time, signals by pidfd, boot id, service notification.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "fd.h"

namespace covey {

/** The kernel's random id of this boot. Source: proc(5), /proc/sys/kernel/random/boot_id. */
std::string BootId();

/** Start time in clock ticks since boot (field 22 of /proc/PID/stat), or nothing when there is no such
 * process. A zombie counts as gone. */
std::optional<uint64_t> StartTimeOf(pid_t pid);

/**
 * A pidfd of exactly that process: a recycled pid is told apart by its start time. Empty when it is gone.
 * Source: pidfd_open(2).
 */
Fd OpenProcess(pid_t pid, uint64_t start_time);

/** False when the process is gone. Throws SysError for anything but ESRCH. Source: pidfd_send_signal(2). */
bool SignalProcess(pid_t pid, uint64_t start_time, int signal);

/** Sends `message` to the service manager. Source: sd_notify(3); a leading @ means the abstract namespace. */
void Notify(const std::string& socket_path, const std::string& message);

/** The whole of a small file of the kernel's (at most 1 MiB). Throws SysError. */
std::string ReadSmallFile(const std::string& path);

/** Writes `text` in one write(2), as files of /proc, /sys and cgroups want it. */
void WriteSmallFile(const std::string& path, const std::string& text);

}  // namespace covey
