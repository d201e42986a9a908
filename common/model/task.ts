/** A task: one slot's one attempt on one node. Intent (`Task`, by managers) and observation (`TaskStatus`, by agents) are apart. */
import type { Instant, NodeId, ServiceId, TaskId } from './ids.ts';

/** Where a task stands; worked out by `stateOf`, never stored as such on the task. */
export type TaskState =
  | 'new'
  | 'pending'
  | 'assigned'
  | 'accepted'
  | 'preparing'
  | 'ready'
  | 'starting'
  | 'running'
  | 'complete'
  | 'shutdown'
  | 'failed'
  | 'rejected'
  | 'remove'
  | 'orphaned';

/** The states an agent reports. */
export type ReportedState =
  | 'accepted'
  | 'preparing'
  | 'ready'
  | 'starting'
  | 'running'
  | 'complete'
  | 'shutdown'
  | 'failed'
  | 'rejected';

/** What managers want of a task; only ever moves to the right. */
export type Desired = 'ready' | 'running' | 'complete' | 'shutdown' | 'remove';

/** Why the manager made a task. */
export type TaskOrigin = 'create' | 'restart' | 'update' | 'move';

/** The slot's restart budget, carried from task to task so that no leader needs a memory. */
export interface RestartCount {
  /** Restarts of this slot since its revision began. */
  readonly total: number;
  /** Times of the restarts inside the policy's window; empty when the window is 0. At most `maxAttempts` entries. */
  readonly recent: readonly Instant[];
  /** Failures in a row without a steady run in between; the back-off's exponent. */
  readonly streak: number;
}

export const NO_RESTARTS: RestartCount = { total: 0, recent: [], streak: 0 };

/** Written by the leader only. Once `nodeId` is set it never changes; `desired` only moves forward. */
export interface Task {
  readonly id: TaskId;
  readonly serviceId: ServiceId;
  /** From 1. */
  readonly slot: number;
  /** With `serviceId` the key of its ServiceRevision. */
  readonly revision: number;
  readonly desired: Desired;
  readonly origin: TaskOrigin;
  readonly createdAt: Instant;
  /** When `desired` last moved. */
  readonly desiredAt: Instant;
  readonly restarts: RestartCount;
  /** Absent until the scheduler binds the task; `address` comes in the same commit. */
  readonly nodeId?: NodeId;
  /** The container's IPv4 address, from the node's block. */
  readonly address?: string;
  readonly assignedAt?: Instant;
  /** Why no node has been found, in words, with counts per reason. */
  readonly pending?: string;
  /** While `desired` is `ready`: not released before this. */
  readonly notBefore?: Instant;
  /** While `desired` is `ready`: not released before that task has stopped. */
  readonly replaces?: TaskId;
  /** The rollout that made it, when one did; its failures count there. */
  readonly rollout?: number;
  /** Why the manager wants it stopped: `scaled down`, `updated`, `node n2 is drained`… */
  readonly because?: string;
}

/** One run of the task's container; numbers only grow. More than one only while no manager could be reached. */
export interface Run {
  readonly number: number;
  readonly startedAt: Instant;
  readonly endedAt?: Instant;
  readonly exitCode?: number;
}

/** Written by the owning node's agent through the dispatcher only; states only move forward. */
export interface TaskStatus {
  readonly taskId: TaskId;
  readonly nodeId: NodeId;
  readonly state: ReportedState;
  /** By the agent's clock, when `state` was entered. */
  readonly at: Instant;
  /** By the manager's clock, when the report was stored; what windows and history go by. */
  readonly appliedAt: Instant;
  /** By the manager's clock, when `running` was first stored; kept in later states. */
  readonly runningAt?: Instant;
  /** One line for people: what it is doing or why it ended. */
  readonly message: string;
  /** Set when it failed: the cause, with the path or the object. */
  readonly error?: string;
  readonly exitCode?: number;
  readonly signal?: number;
  readonly oomKilled: boolean;
  /** The container's first process; absent when none runs. */
  readonly pid?: number;
  /** False takes a running task out of every load balancer; the replacement follows from the failure that comes after. */
  readonly healthy: boolean;
  readonly runs: readonly Run[];
}

const ORDER: readonly TaskState[] = [
  'new',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
];
const DESIRED_ORDER: readonly Desired[] = ['ready', 'running', 'complete', 'shutdown', 'remove'];

/** A number that grows along a task's life; terminal states are above `running`. */
export function rank(state: TaskState): number {
  return ORDER.indexOf(state);
}

/** A number that grows along what managers may want. */
export function desiredRank(desired: Desired): number {
  return DESIRED_ORDER.indexOf(desired);
}

/** True for a state that no task leaves. */
export function isTerminal(state: TaskState): boolean {
  return rank(state) > rank('running');
}

/** True while managers want the task to exist and serve (`ready` counts: it is held back). */
export function isWanted(task: Task): boolean {
  return desiredRank(task.desired) <= desiredRank('running');
}

/**
 * Where a task stands, from intent and observation.
 * A task whose node has been removed is `orphaned`, unless it had ended before.
 * @param nodeIsGone the task is bound and its node is no longer in the store, or has been lost for good
 */
export function stateOf(task: Task, status: TaskStatus | undefined, nodeIsGone: boolean): TaskState {
  if (status !== undefined && isTerminal(status.state)) return status.state;
  if (nodeIsGone) return 'orphaned';
  if (status !== undefined) return status.state;
  if (task.nodeId !== undefined) return 'assigned';
  // A task that never had a node needs nobody to stop it.
  if (!isWanted(task)) return 'shutdown';
  return task.pending === undefined ? 'new' : 'pending';
}

/** Docker's task name: `service.slot.taskid`. */
export function taskName(serviceName: string, task: Task): string {
  return `${serviceName}.${task.slot}.${task.id}`;
}
