/**
 * The store's contract: what every room of the manager knows of etcd.
 *
 * Kinds of objects go in as lists of units, each unit atomic; they come out as a synchronous, deeply read-only view
 * that moves on whole revisions. Nothing here knows etcd; `etcd.ts` does, and `test/support/memory-store.ts` is the
 * same contract in memory.
 */
import type { Cluster, Image, Leader, Manager, RegistryLogin } from '../../common/model/cluster.ts';
import type { ContainerClaim } from '../../common/model/container.ts';
import type { NodeId, Revision, ServiceId } from '../../common/model/ids.ts';
import type { Epoch, Node, NodeStatus } from '../../common/model/node.ts';
import type { Rollout } from '../../common/model/rollout.ts';
import type { Service, ServiceRevision } from '../../common/model/service.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';

/** Holds a name for one object; its existence is the uniqueness. Id: `service/<name in lower case>`. */
export interface NameClaim {
  readonly name: string;
  readonly id: string;
}

/** Every stored kind and its type. The kind is also the key's first part: `/<prefix>/<kind>/<id>`. */
export interface Kinds {
  readonly cluster: Cluster;
  readonly manager: Manager;
  readonly leader: Leader;
  readonly service: Service;
  readonly revision: ServiceRevision;
  readonly rollout: Rollout;
  readonly task: Task;
  readonly 'task-status': TaskStatus;
  readonly node: Node;
  readonly 'node-status': NodeStatus;
  readonly image: Image;
  readonly login: RegistryLogin;
  readonly name: NameClaim;
  readonly container: ContainerClaim;
}

export type Kind = keyof Kinds;

/** A value and etcd's `mod_revision` of its key, which is Docker's `Version.Index`. */
export interface Stored<T> {
  readonly value: T;
  readonly rev: Revision;
}

/**
 * One write of a unit. `ifRev` is compared with the key's `mod_revision`: 0 = must not exist, absent = whatever is there.
 * `check` writes nothing: the unit holds only if the key is still as it was read.
 */
export type Write = { readonly [K in Kind]: WriteOf<K> }[Kind];

export type WriteOf<K extends Kind> =
  | { readonly op: 'put'; readonly kind: K; readonly id: string; readonly value: Kinds[K]; readonly ifRev?: Revision }
  | { readonly op: 'delete'; readonly kind: K; readonly id: string; readonly ifRev?: Revision }
  | { readonly op: 'check'; readonly kind: K; readonly id: string; readonly ifRev: Revision };

/** Atomic: all its writes or none. At most `UNIT_WRITES_MAX` writes. */
export type Unit = readonly Write[];

/** Operations a nested transaction may hold under etcd's default `--max-txn-ops` (tried). */
export const UNIT_WRITES_MAX = 32;

/** `conflict`: one of the unit's compares failed, nothing of it was written; `lost`: the reign had ended, nothing was written. */
export type CommitResult =
  | { readonly kind: 'done'; readonly revision: Revision }
  | { readonly kind: 'conflict' }
  | { readonly kind: 'lost' };

/** One changed key; `before`/`after` absent = did not / does not exist. */
export type Change = { readonly [K in Kind]: ChangeOf<K> }[Kind];

export interface ChangeOf<K extends Kind> {
  readonly kind: K;
  readonly id: string;
  readonly before: Kinds[K] | undefined;
  readonly after: Kinds[K] | undefined;
}

/** All changes of one or more whole revisions, in order; `revision` is the last of them. */
export interface Batch {
  readonly revision: Revision;
  readonly changes: readonly Change[];
}

/** A synchronous look at one revision. Lists are in no promised order; they and all values are deeply read-only. */
export interface View {
  readonly revision: Revision;
  get<K extends Kind>(kind: K, id: string): Stored<Kinds[K]> | undefined;
  all<K extends Kind>(kind: K): Iterable<Stored<Kinds[K]>>;
  tasksOf(service: ServiceId): Iterable<Stored<Task>>;
  tasksOn(node: NodeId): Iterable<Stored<Task>>;
}

export interface Store {
  /** Always the newest; read it anew after every await. */
  readonly view: View;
  /**
   * Commits units that do not depend on one another, packed into as few transactions as fit.
   * Results are in the order of `units`.
   * @throws ClusterError `unavailable` when etcd does not answer in time (the outcome is then unknown: read again),
   *   `exhausted` when etcd is out of space
   */
  commit(units: readonly Unit[], signal: AbortSignal): Promise<readonly CommitResult[]>;
  /**
   * What changes from now on. Bounded inside: a reader that falls behind gets one `resync` instead of what it missed,
   * and must then look at everything. Ends when `signal` is aborted.
   */
  changes(signal: AbortSignal): AsyncIterable<Batch | 'resync'>;
  /** Resolves when the view has reached `revision`: reading your own writes. */
  reached(revision: Revision, signal: AbortSignal): Promise<void>;
  /**
   * Resolves when the view shows everything that etcd had taken when this was called, also commits whose outcome came back
   * unknown. Waits for as long as etcd is away.
   */
  caughtUp(signal: AbortSignal): Promise<void>;
  /** Campaigns for the lead; resolves when it is won and the view has reached the reign's first revision. */
  reign(candidate: Candidate, signal: AbortSignal): Promise<Reign>;
  /** Keeps `manager/<id>` there, bound to a lease, until `signal` is aborted or the store is closed; resolves then. */
  announce(manager: Manager, signal: AbortSignal): Promise<void>;
}

/** Who asks to lead. */
export interface Candidate {
  readonly managerId: Manager['id'];
  readonly address: string;
}

/** Leadership while it lasts. Every commit compares the leader's key in the same transaction. */
export interface Reign {
  readonly epoch: Epoch;
  commit(units: readonly Unit[], signal: AbortSignal): Promise<readonly CommitResult[]>;
  /** Aborted when the lease is gone or may be gone. */
  readonly lost: AbortSignal;
  /** Gives the lead back at once, so that a successor need not wait for the lease to end. */
  resign(): Promise<void>;
}

/** Builders of writes, so that a unit reads as a sentence. */
export function put<K extends Kind>(kind: K, id: string, value: Kinds[K], ifRev?: Revision): Write {
  const write = ifRev === undefined ? { op: 'put', kind, id, value } : { op: 'put', kind, id, value, ifRev };
  return write as unknown as Write;
}

/** Deletes a key; with `ifRev` only if it is still as read. */
export function remove<K extends Kind>(kind: K, id: string, ifRev?: Revision): Write {
  const write = ifRev === undefined ? { op: 'delete', kind, id } : { op: 'delete', kind, id, ifRev };
  return write as unknown as Write;
}

/** The unit holds only if the key still has this revision (0: does not exist). */
export function check<K extends Kind>(kind: K, id: string, ifRev: Revision): Write {
  return { op: 'check', kind, id, ifRev } as unknown as Write;
}
