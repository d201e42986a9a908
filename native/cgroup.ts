/** What a container may use and has used, the same on cgroup v1 and v2 (src/cgroup_*.cc). */

/** One container's use of CPUs, since its cgroup was made. */
export interface CpuStats {
  readonly usageNanos: number;
  readonly userNanos: number;
  readonly systemNanos: number;
  /** Periods of the quota that passed; those in which it ran out; how long was waited for the next. */
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledNanos: number;
}

export interface MemoryStats {
  readonly usageBytes: number;
  /** `usageBytes` without the page cache that the kernel would give up first. */
  readonly workingSetBytes: number;
  /** null = none. */
  readonly limitBytes: number | null;
  /** null where the kernel counts none. */
  readonly peakBytes: number | null;
  readonly swapBytes: number | null;
  /** How often the limit was met; the kernel may have found room. On v1 without swap only kills are counted. */
  readonly limitHits: number;
  /** How often it was above memory.high, or squeezed though below memory.low; null on v1. */
  readonly highHits: number | null;
  readonly lowHits: number | null;
  /** How often no room was found; null on v1. */
  readonly ooms: number | null;
  /** Its processes that the OOM killer has killed, the first one or others. */
  readonly oomKills: number;
}

export interface IoStats {
  /** `MAJOR:MINOR` */
  readonly device: string;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly reads: number;
  readonly writes: number;
}

export interface HugePageStats {
  /** As the kernel names it: `2MB`. */
  readonly pageSize: string;
  readonly usageBytes: number;
  readonly limitHits: number;
}

/** Share of the last 10, 60 and 300 seconds, in percent, in which processes waited; and the sum. Source: kernel docs, PSI. */
export interface Pressure {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly totalMicros: number;
}

/** `some`: at least one waited; `full`: all did, null where the kernel does not count it. */
export interface Pressures {
  readonly some: Pressure;
  readonly full: Pressure | null;
}

export interface CgroupStats {
  readonly cpu: CpuStats;
  readonly memory: MemoryStats;
  readonly pids: { readonly count: number; readonly limit: number | null };
  /** By device; one that was never used may be missing. */
  readonly io: readonly IoStats[];
  /** Empty where no container is counted for huge pages. */
  readonly hugePages: readonly HugePageStats[];
  /** Each null where the kernel counts none: on v1, and with psi=0. */
  readonly pressure: {
    readonly cpu: Pressures | null;
    readonly memory: Pressures | null;
    readonly io: Pressures | null;
  };
}

/** Cgroup paths are absolute below the root of every hierarchy, as `/covey/abc`. */
export interface CgroupAddon {
  /** Makes a cgroup that containers can live in, with its parents. Idempotent. */
  cgroupEnsureParent(path: string): Promise<void>;
  /** SIGKILL to everything in it and below it, also to what stands still. */
  cgroupKill(path: string): Promise<void>;
  /** Any signal to everything in it and below it, once: what is born meanwhile may miss it. SIGKILL misses nothing. */
  cgroupSignal(path: string, signal: number): Promise<void>;
  /** Resolves when every process in it stands still; rejects with ETIMEDOUT, all running again, when one does not in 10 s. */
  cgroupPause(path: string): Promise<void>;
  cgroupResume(path: string): Promise<void>;
  /** Whether it was paused last; false when there is none. */
  cgroupPaused(path: string): Promise<boolean>;
  /**
   * Changes limits, all or nothing; `resourcesJson` is an OCI config's linux.resources, and what it leaves out stays.
   * Rejects with EINVAL and the field, or with the file and errno of the kernel's refusal.
   */
  cgroupUpdate(path: string, resourcesJson: string): Promise<void>;
  /** Kills, then removes it and everything below it. Idempotent. */
  cgroupRemove(path: string): Promise<void>;
  /** Names of the cgroups directly below it, from all hierarchies. */
  cgroupList(path: string): Promise<readonly string[]>;
  /** Rejects with ENOENT when there is none. */
  cgroupStats(path: string): Promise<CgroupStats>;
  /** The folder of a cgroup in a controller's hierarchy; null when this host lacks the controller. */
  cgroupFolder(controller: string, path: string): string | null;
}
