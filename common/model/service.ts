/** What users want: the service's spec, its defaults, and the revision that tasks are made from. */
import type { Digest, Instant, ServiceId } from './ids.ts';
import type { LogPolicy } from './log-policy.ts';
import type { ProcessRules } from './process-rules.ts';

/** Label keys to values; keys are case-sensitive and unique. */
export type Labels = Readonly<Record<string, string>>;

/** How a container is told to be well. Source: Docker `HEALTHCHECK`, docker-api "HealthConfig". */
export interface HealthCheck {
  /** `['CMD', argv…]` or `['CMD-SHELL', line]`. */
  readonly test: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
}

/** The health rule of a template: `image` = whatever the image says, `none` = `--no-healthcheck`: neither command nor port is probed. */
export type Health =
  | { readonly kind: 'image' }
  | { readonly kind: 'none' }
  | { readonly kind: 'command'; readonly check: HealthCheck };

/** The part of a template that describes the container. Absent means: as the image says. */
export interface ContainerTemplate {
  /** As the user wrote it, then `NAME:TAG@sha256:…` once the manager has resolved it. */
  readonly image: string;
  /** The image's manifest; set by the manager when the spec is accepted. */
  readonly imageDigest?: Digest;
  /** Replaces the image's ENTRYPOINT. */
  readonly entrypoint?: readonly string[];
  /** Replaces the image's CMD. */
  readonly args?: readonly string[];
  /** `KEY=value`, later ones win over earlier ones and over the image's. */
  readonly env: readonly string[];
  readonly workdir?: string;
  /** `name|uid[:group|gid]` */
  readonly user?: string;
  readonly hostname?: string;
  readonly labels: Labels;
  readonly readOnly: boolean;
  /** `host`: no user namespace of its own, so root inside is the host's root. Absent: its ids are nobody's outside. */
  readonly userns?: 'host';
  /** The command gets a terminal; absent: pipes. */
  readonly tty?: true;
  /** With or without `SIG`, or a number as text. */
  readonly stopSignal?: string;
  readonly stopGraceMs: number;
  readonly health: Health;
  /** How long a task may take from exec to ready; then it has failed. */
  readonly startTimeoutMs: number;
  /** How long a leaving task goes on serving while connections to it are open. */
  readonly drainMs: number;
  /** How its output is kept; absent = driver `local` with its defaults. */
  readonly log?: LogPolicy;
  /** Absent = DEFAULT_PROCESS_RULES. */
  readonly process?: ProcessRules;
}

/** 0 means: none set. Absent, where that may be, means the same but for the swappiness. */
export interface Limits {
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly pids: number;
  /** Memory and swap together, -1 = swap without limit; only with `memoryBytes`. Absent: no swap. */
  readonly memorySwapBytes?: number;
  /** 0–100; cgroup v1 only. Absent: the host's. */
  readonly memorySwappiness?: number;
  /** Bits a second from and to the container, headers counted. */
  readonly networkEgressBits?: number;
  readonly networkIngressBits?: number;
  /** What the container may write into its root file system; where that lies on one with project quotas. */
  readonly storageBytes?: number;
}

/** 0 means: none reserved. */
export interface Reservations {
  readonly nanoCpus: number;
  readonly memoryBytes: number;
}

export type RestartCondition = 'none' | 'on-failure' | 'any';

/** Swarm's restart policy; `maxAttempts` 0 = unlimited, `windowMs` 0 = the whole life of the slot's revision. */
export interface RestartPolicy {
  readonly condition: RestartCondition;
  readonly delayMs: number;
  readonly maxAttempts: number;
  readonly windowMs: number;
}

export interface Placement {
  /** `key==value` or `key!=value`, ANDed; already checked for syntax. */
  readonly constraints: readonly string[];
  /** 0 = no limit. */
  readonly maxReplicasPerNode: number;
}

/** What a task is made from. Any difference here makes tasks dirty. */
export interface TaskTemplate {
  readonly container: ContainerTemplate;
  readonly limits: Limits;
  readonly reservations: Reservations;
  readonly restart: RestartPolicy;
  readonly placement: Placement;
  /** Raised by `--force`: tasks are replaced though nothing else changed. */
  readonly forceUpdate: number;
}

export type Protocol = 'tcp' | 'udp';
export type PublishMode = 'ingress' | 'host';

export interface Port {
  readonly protocol: Protocol;
  /** 1–65535, inside the container. */
  readonly target: number;
  /** 1–65535; 0 until the manager has assigned one (30000–32767), never 0 in the store. */
  readonly published: number;
  readonly mode: PublishMode;
}

export type FailureAction = 'pause' | 'continue' | 'rollback';
export type UpdateOrder = 'stop-first' | 'start-first';

export interface UpdatePolicy {
  /** Slots at once; 0 = all. */
  readonly parallelism: number;
  readonly delayMs: number;
  /** `rollback` is refused in the rollback policy. */
  readonly failureAction: FailureAction;
  /** A replaced slot must hold out so long before the next batch; 0 = 5 s at the door. */
  readonly monitorMs: number;
  /** 0…1; the action fires when failed ÷ slots is strictly greater. */
  readonly maxFailureRatio: number;
  readonly order: UpdateOrder;
  /** Without a slot finished for so long, the failure action fires. */
  readonly progressDeadlineMs: number;
}

export type ServiceMode = { readonly kind: 'replicated'; readonly replicas: number };

export interface ServiceSpec {
  readonly name: string;
  readonly labels: Labels;
  readonly template: TaskTemplate;
  readonly mode: ServiceMode;
  readonly update: UpdatePolicy;
  readonly rollback: UpdatePolicy;
  readonly ports: readonly Port[];
  /** Overrides the cluster's; absent = the cluster's. */
  readonly failoverAfterMs?: number;
}

/**
 * A service as stored. Written by users through Control; the leader writes it only for an automatic rollback.
 * `revision` counts changes of `template` and `ports` (what dirties tasks) and stays put on all others.
 */
export interface Service {
  readonly id: ServiceId;
  readonly spec: ServiceSpec;
  readonly revision: number;
  /** What a rollback goes to; the two swap places, nothing is erased. */
  readonly previous?: { readonly spec: ServiceSpec; readonly revision: number };
  /** The highest revision number ever given out; new ones are above it. */
  readonly lastRevision: number;
  /** Set while the spec in force came from a rollback, by hand or automatic. */
  readonly rolledBack: boolean;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
}

/** One immutable set of what tasks are made from, shared by all tasks of (service, number). Key: `revisionKey`. */
export interface ServiceRevision {
  readonly serviceId: ServiceId;
  readonly number: number;
  readonly serviceName: string;
  readonly template: TaskTemplate;
  readonly ports: readonly Port[];
  readonly failoverAfterMs?: number;
}

/** The store's id of a revision: service id, dot, number. */
export function revisionKey(serviceId: ServiceId, number: number): string {
  return `${serviceId}.${number}`;
}

export const DEFAULT_STOP_GRACE_MS = 10_000;
export const DEFAULT_START_TIMEOUT_MS = 60_000;
export const DEFAULT_DRAIN_MS = 5_000;
export const DEFAULT_MONITOR_MS = 5_000;
export const DEFAULT_PROGRESS_DEADLINE_MS = 600_000;

export const DEFAULT_RESTART: RestartPolicy = { condition: 'any', delayMs: 5_000, maxAttempts: 0, windowMs: 0 };

export const DEFAULT_UPDATE: UpdatePolicy = {
  parallelism: 1,
  delayMs: 0,
  failureAction: 'pause',
  monitorMs: DEFAULT_MONITOR_MS,
  maxFailureRatio: 0,
  order: 'stop-first',
  progressDeadlineMs: DEFAULT_PROGRESS_DEADLINE_MS,
};

/** Docker's defaults for what a health command leaves open. */
export const DEFAULT_HEALTH = {
  intervalMs: 30_000,
  timeoutMs: 30_000,
  retries: 3,
  startPeriodMs: 0,
  startIntervalMs: 5_000,
} as const;
