/**
 * The contract of a container runtime: what the agent asks of whatever runs containers.
 *
 * Comes in: a task's template, its unpacked image and its files. Goes out: containers with an identity that survives
 * us, their exits, their logs on disk. A runtime never decides: no restarts, no pulls, no networks; it makes the network
 * namespace and tells where it is, so that agent/network can furnish it between `create` and `start`.
 * Implemented by native-runtime.ts and, for tests, test/support/fake-runtime.ts.
 */
import type { Instant } from '../../common/model/ids.ts';
import type { ContainerTemplate, Labels, Limits } from '../../common/model/service.ts';
import type { CgroupStats } from '../../native/cgroup.ts';
import type { RestartInPlace } from '../../native/container.ts';
import type { TreeLayer } from '../../native/tree.ts';
import type { ExecSession, OpenExecRequest, TerminalSize } from './exec.ts';
import type { OciLimits } from './oci-resources.ts';

/** What a runtime needs of an image: where it was unpacked, and its config. Source: OCI image-spec, config.md. */
export interface ContainerImage {
  /** Absolute folders of the unpacked layers, lowest first, whiteouts in overlayfs' form. At least one, at most 500. */
  readonly layers: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** `KEY=value` */
  readonly env: readonly string[];
  /** Empty = `/`. */
  readonly workdir: string;
  /** `name|uid[:group|gid]`; empty = root. */
  readonly user: string;
  /** Empty = SIGTERM. */
  readonly stopSignal: string;
}

/** A file the host puts into the container, read-only bind: /etc/hosts, /etc/hostname, /etc/resolv.conf. */
export interface PlacedFile {
  /** Absolute, inside the container; resolved beneath its root. */
  readonly target: string;
  readonly content: string;
}

/** What keeps the container running while there is no agent; native/container.ts says how. */
export type { RestartInPlace };

/** A run of a container that ended while no agent was there, and was followed by another in the same place. */
export interface PastRun {
  /** From 1. */
  readonly number: number;
  readonly exit: Exit;
}

/** What an id of a container must be: it names a folder and a cgroup. */
export const CONTAINER_ID = /^[0-9a-z][0-9a-z._-]{0,63}$/;

/** One more mount of a container, in OCI's words. Source: OCI runtime-spec, config.md, "Mounts". */
export interface ContainerMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** A device node of a container, with the right to use it. Source: OCI runtime-spec, config-linux.md, "Devices". */
export interface ContainerDevice {
  /** Below /dev. */
  readonly path: string;
  readonly type: 'b' | 'c';
  readonly major: number;
  readonly minor: number;
  /** As the container sees them. */
  readonly uid: number;
  readonly gid: number;
  readonly fileMode: number;
  /** Of r, w and m. */
  readonly access: string;
}

export interface CreateRequest {
  /** As CONTAINER_ID says, unique on this host: task id, with the run's number where there are several. */
  readonly id: string;
  readonly image: ContainerImage;
  readonly template: ContainerTemplate;
  readonly limits: Limits;
  /** Used when the template names none. */
  readonly hostname: string;
  readonly files: readonly PlacedFile[];
  /** Besides the usual ones or in their place, in their order; targets that are missing are made. Absent: none. */
  readonly mounts?: readonly ContainerMount[];
  /** Absent: the usual ones only. */
  readonly devices?: readonly ContainerDevice[];
  /** Kept with the container and given back by `list`; for the agent's own use (task id, run, service). */
  readonly labels: Labels;
  /** Absent: an exit while no agent is there is recorded, and that is all. */
  readonly restart?: RestartInPlace;
  /** Its command reads what those attached type; `once`: until the first of them has no more. Absent: it reads /dev/null. */
  readonly input?: 'kept' | 'once';
  /** What it writes is worth as much as any file of the host, and it may be made again after its end. */
  readonly isLasting?: true;
  /** It shares the host's network; only where it shares the host's users too. */
  readonly hostNetwork?: true;
}

/** How a container ended. Exactly one of `code` and `signal` is not null, both are null when the record was lost. */
export interface Exit {
  readonly code: number | null;
  /** Number of the signal that killed its first process. */
  readonly signal: number | null;
  /** The kernel's OOM killer struck in this container's cgroup. */
  readonly oomKilled: boolean;
  readonly startedAt: Instant;
  readonly finishedAt: Instant;
}

/**
 * `created`: namespaces exist, the command waits. `running`: exec has succeeded. `paused`: as running, but every process
 * stands still. `exited`: see `exit`.
 */
export type ContainerState = 'created' | 'running' | 'paused' | 'exited';

export interface Container {
  readonly id: string;
  readonly state: ContainerState;
  /** Of its first process, in the host's numbering; with `startTime` it names the process for good. */
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly startTime: number;
  /** `/proc/PID/ns/net`; valid while state is not `exited`. */
  readonly netnsPath: string;
  /** From 1; grew by each time it was run again in place while no agent was there. Never changes while one is. */
  readonly run: number;
  /** When that run began; only of a further one. */
  readonly runStartedAt?: Instant;
  /** The runs before it, oldest first, the newest 20 of them. */
  readonly pastRuns: readonly PastRun[];
  /** Newest log file; older ones lie beside it as agent/logs/files.ts says, lines are as agent/runtime/log-line.ts says. */
  readonly logPath: string;
  /** Its log's files are to be compressed once they are put aside. */
  readonly compressesLog: boolean;
  readonly createdAt: Instant;
  readonly labels: Labels;
  /** Set when, and only when, state is `exited`. */
  readonly exit?: Exit;
}

export interface ExecRequest {
  readonly args: readonly string[];
  /** Added to the container's own environment. */
  readonly env: readonly string[];
  readonly timeoutMs: number;
  /** Output beyond this is dropped; stdout and stderr together. */
  readonly outputMaxBytes: number;
}

export interface ExecResult {
  /** 128 + signal when killed by one; -1 when it timed out. */
  readonly exitCode: number;
  /** UTF-8, broken bytes replaced. */
  readonly output: string;
  /** Then every process it had started was killed. */
  readonly timedOut: boolean;
}

/** What the container has used since it was created, all of its processes together. */
export type Stats = CgroupStats;

/** Limits to change; what is left out stays as it is. Devices cannot be changed. */
export type ResourceUpdate = OciLimits;

/** How a container is asked to go. */
export interface StopRequest {
  /** With or without `SIG`, or a number as text; empty = SIGTERM. */
  readonly stopSignal: string;
  readonly graceMs: number;
}

/**
 * Errors, all ClusterError: `not_found` for an unknown id, `exists` when the id is taken, `invalid` for what can never
 * start (missing command, unknown user, bad working directory: the message names the path), `exhausted` for a limit
 * of the host, `internal` with the native error as cause.
 */
export interface Runtime {
  /** Everything up to exec: root file system, namespaces, limits; a missing command is refused here. Nothing is left behind when it throws. */
  create(request: CreateRequest, signal: AbortSignal): Promise<Container>;
  /**
   * Makes a container that has ended once more, from another request of its id: what it wrote, its log and its ids stay.
   * `conflict` when it has not ended or was not made to last. When it throws, it has ended as before.
   */
  remake(request: CreateRequest, signal: AbortSignal): Promise<Container>;
  /** Lets the command run; resolves when exec has succeeded. A container that failed to start is `exited` afterwards. */
  start(id: string, signal: AbortSignal): Promise<Container>;
  /** Resolves when the container has ended, at once when it already has. Aborting gives up the wait, nothing else. */
  wait(id: string, signal: AbortSignal): Promise<Exit>;
  /** Sends a signal (number) to the first process; false when it is gone. SIGKILL takes every process of the container. */
  kill(id: string, signalNumber: number): Promise<boolean>;
  /** Stop signal, grace, then SIGKILL of the whole container; resolves when it has ended. A paused one runs again for it. */
  stop(id: string, request: StopRequest, signal: AbortSignal): Promise<Exit>;
  exec(id: string, request: ExecRequest, signal: AbortSignal): Promise<ExecResult>;
  /**
   * Stops every process where it stands; resolves when all do. Signals but SIGKILL wait until `resume`.
   * `conflict` when it is not running; `unavailable` when a process does not stop in time, and then all run again.
   */
  pause(id: string): Promise<void>;
  /** `conflict` when it is not paused. */
  resume(id: string): Promise<void>;
  /** Changes limits while it lives, all or nothing. `invalid` names the field or file that was refused. */
  update(id: string, resources: ResourceUpdate): Promise<void>;
  /** Runs a user's command; resolves when its exec has succeeded. `conflict` when the container does not run (any more). */
  openExec(id: string, request: OpenExecRequest, signal: AbortSignal): Promise<ExecSession>;
  /**
   * All that the container says from now on, and with `types` a way to its input; `ended` is its end. To be called before `start`
   * when nothing may be missed. `kill` and `detach` only leave. `conflict` when it has ended.
   */
  attach(id: string, options: { readonly types: boolean }, signal: AbortSignal): Promise<ExecSession>;
  /** Sets the size of the terminal of the container's own command. `invalid` when it has none. */
  resize(id: string, size: TerminalSize): Promise<void>;
  stats(id: string): Promise<Stats>;
  /** What it has changed in its root file system, in overlayfs' form; there until `remove`. */
  writable(id: string): Promise<TreeLayer>;
  /**
   * Kills what runs, then removes cgroups, writable layer, logs and run files. Idempotent: an unknown id is fine. Whoever
   * waits for its end hears that it has ended, perhaps not how.
   */
  remove(id: string): Promise<void>;
  /** What survived us: every container of this state directory, proved by boot id, start time and the shim's socket; any order. What cannot be proved and does not run is `exited`. */
  list(signal: AbortSignal): Promise<readonly Container[]>;
}
