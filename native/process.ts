/**
 * Processes of the host. A process is named by pid **and** start time (clock ticks since boot, field 22 of
 * /proc/PID/stat), so that a recycled pid is never mistaken for it.
 */
export interface ProcessAddon {
  /** The kernel's random id of this boot. */
  bootId(): string;
  /** Start time of a live process; null when there is none. */
  startTime(pid: number): number | null;
  /** Whether exactly that process lives; a zombie does not. */
  processAlive(pid: number, startTime: number): boolean;
  /** Sends a signal by pidfd; false when the process is gone. */
  signal(pid: number, startTime: number, signal: number): boolean;
  /** sd_notify(3): `socket` is the value of NOTIFY_SOCKET, `message` for instance `READY=1`. Waits 10 s for a full one. */
  notify(socket: string, message: string): Promise<void>;
}
