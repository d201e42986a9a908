/** How a container is made, beyond its OCI config. Paths are absolute. */
export interface ContainerCreateOptions {
  readonly id: string;
  /** The container's own folder; exists; everything of its life lies in it: upper, work, control, state.json, exit.json. */
  readonly stateDir: string;
  /** Layer folders, **topmost first**; empty = bind the config's root.path. */
  readonly layers: readonly string[];
  /** `auto` takes fsopen with `lowerdir+` where the kernel has it (6.7), else mount(2). */
  readonly overlayMode: 'auto' | 'fsconfig' | 'mount';
  /** The writable layer is never synced; it does not outlive a crash of the host. */
  readonly volatile: boolean;
  /** The first process stays as an init: it reaps, hands on signals, and ends as the command does. */
  readonly reaper: boolean;
  /** The newest file; one that has grown to `logMaxBytes` becomes `.00000001`, `.00000002`, … In a folder without older ones. */
  readonly logPath: string;
  readonly logMaxBytes: number;
  /** Kept, the newest included; from 1. */
  readonly logFiles: number;
  /** `text` as agent/runtime/log-line.ts says, `json` as Docker's json-file, `none` keeps nothing. */
  readonly logFormat: 'text' | 'json' | 'none';
  /** Bytes that may wait for the disk while the container goes on, then lines are dropped and counted; 0 = it waits. */
  readonly logBufferBytes: number;
  /** The command reads what listeners type; without it /dev/null. A terminal is typed into always. */
  readonly input: boolean;
  /** That ends with the first listener that has no more to type. */
  readonly inputOnce: boolean;
  /** What the shim does after an exit while no agent attends; null: nothing, as while one does. */
  readonly restart: RestartInPlace | null;
  readonly shimPath: string;
}

/** When a shim runs its container again in place: the rule of agent/runs.ts, for the time in which there is no agent. */
export interface RestartInPlace {
  readonly condition: 'none' | 'on-failure' | 'any';
  readonly delayMs: number;
  /** 0 = without limit. */
  readonly maxAttempts: number;
  /** 0 = the container's whole life. */
  readonly windowMs: number;
  /** Of the attempts, before this container. */
  readonly used: number;
  /** So long nobody must have attended before the first restart. */
  readonly holdMs: number;
}

/** We decide what follows an exit of this container, until `release` or the end of this process. */
export interface Attendance {
  /** It is to end and not to run again, whatever its policy. Never waits. */
  retire(): void;
  release(): void;
}

/** A container's first process and its shim, each pid with its start time. */
export interface ContainerIdentity {
  readonly pid: number;
  readonly startTime: number;
  readonly shimPid: number;
  readonly shimStartTime: number;
  /** `exited` = its end is being written down at this moment. */
  readonly life: 'created' | 'running' | 'exited';
  /** From 1; grows when the shim runs the container again. */
  readonly run: number;
}

export interface ContainerExecOptions {
  /** The container's cgroup, as in linux.cgroupsPath. */
  readonly cgroup: string;
  readonly timeoutMs: number;
  readonly outputMaxBytes: number;
  readonly shimPath: string;
}

export interface ContainerExecResult {
  /** 128 + signal when killed by one; -1 when it timed out. */
  readonly exitCode: number;
  /** Then every process the command had started is dead. */
  readonly timedOut: boolean;
  readonly output: Buffer;
}

export interface ProcessWatch {
  /** True when the process has ended (and was reaped, if it was our child); false when cancelled. */
  readonly ended: Promise<boolean>;
  cancel(): void;
}

export interface ImageUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** `/` when unknown. */
  readonly home: string;
}

/** Containers and their users. */
export interface ContainerAddon {
  /**
   * Makes a container from an OCI runtime-spec config up to, but not including, exec; /proc/PID/ns/net can then be
   * furnished. Undoes all but `stateDir` when it rejects. A feature the core lacks is refused with `EINVAL` and its field.
   */
  containerCreate(ociConfigJson: string, options: ContainerCreateOptions): Promise<ContainerIdentity>;
  /** Lets the command run; resolves when exec has succeeded. The container is attended from then on. */
  containerStart(stateDir: string): Promise<Attendance>;
  /** As `containerIdentify`, and the container is attended from then on. */
  containerAttend(
    stateDir: string,
  ): Promise<{ readonly identity: ContainerIdentity; readonly attendance: Attendance } | null>;
  /** Who lives in `stateDir`, proved by boot id, start times and the shim's own word; null when nobody does. */
  containerIdentify(stateDir: string): Promise<ContainerIdentity | null>;
  /** Refused with EOPNOTSUPP: there is no way back from a checkpoint here. */
  containerCheckpoint(stateDir: string): Promise<never>;
  /** Runs one more command: the `process` of an OCI config, under the seccomp and personality of its `linux`. */
  containerExec(
    pid: number,
    startTime: number,
    ociConfigJson: string,
    options: ContainerExecOptions,
  ): Promise<ContainerExecResult>;
  /**
   * Waits for the end of any process, on Node's own loop; keeps Node alive meanwhile. That of a shim made here by
   * `containerCreate` is told, at the first watch, once the container's end is on the disk: a moment before it is gone.
   */
  watchProcess(pid: number, startTime: number): ProcessWatch;
  /** `name|uid[:group|gid]` by the image's own /etc/passwd and /etc/group; layers topmost first. */
  resolveUser(layers: readonly string[], user: string): Promise<ImageUser>;
  /** Starts a process that only sleeps until SIGTERM, to keep a systemd scope alive; gives its pid. */
  holdScope(shimPath: string): Promise<number>;
}
