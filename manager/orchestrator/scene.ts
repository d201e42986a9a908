/**
 * Everything one decision about one service looks at, gathered in one pass over its tasks.
 * It reads the view and judges nothing but single tasks; what to do about them is for others.
 */
import { DEFAULT_FAILOVER_AFTER_MS } from '../../common/model/cluster.ts';
import type { Instant, NodeId, Revision } from '../../common/model/ids.ts';
import { isSettled, type Rollout } from '../../common/model/rollout.ts';
import { revisionKey, type Service, type ServiceRevision, type UpdatePolicy } from '../../common/model/service.ts';
import { isTerminal, isWanted, stateOf, type Task, type TaskState, type TaskStatus } from '../../common/model/task.ts';
import type { Tick } from '../reconcile.ts';
import { check, type Stored, type View, type Write } from '../store/store.ts';
import { type Difference, differenceOf, isDirty } from './dirty.ts';
import { type Footing, type Ground, groundOf, type Patience, proofOf } from './footing.ts';

/** One task of a slot with all that is known of it. */
export interface Member {
  readonly task: Task;
  readonly rev: Revision;
  readonly status: TaskStatus | undefined;
  /** 0 while there is no status. */
  readonly statusRev: Revision;
  readonly state: TaskState;
  readonly footing: Footing;
  readonly ground: Ground | undefined;
  /** Not what the service wants any more. */
  readonly isDirty: boolean;
}

/** A place in a replicated service; `members` and `wanted` are in the order in which the tasks follow one another. */
export interface Slot {
  readonly number: number;
  readonly members: readonly Member[];
  /** Those that managers want; more than one only while one is taking over from the other. */
  readonly wanted: readonly Member[];
}

export interface Scene {
  readonly view: View;
  readonly tick: Tick;
  readonly now: Instant;
  readonly service: Service;
  readonly serviceRev: Revision;
  readonly rollout: Stored<Rollout> | undefined;
  /** By number. */
  readonly slots: ReadonlyMap<number, Slot>;
}

/** Gathers the scene of one service. */
export function sceneOf(view: View, service: Stored<Service>, tick: Tick): Scene {
  const patience: Patience = {
    failoverAfterMs: failoverAfter(view, service.value),
    leader: view.get('leader', 'default')?.value,
    now: tick.now,
  };
  const grounds = new Map<NodeId, Ground>();
  const differences = new Map<number, Difference>();
  const bySlot = new Map<number, Member[]>();
  for (const stored of view.tasksOf(service.value.id)) {
    const { nodeId, slot } = stored.value;
    const ground =
      nodeId === undefined ? undefined : remembered(grounds, nodeId, () => groundOf(view, nodeId, patience));
    const member = memberOf(view, service.value, stored, ground, differences);
    const members = bySlot.get(slot);
    if (members === undefined) bySlot.set(slot, [member]);
    else members.push(member);
  }
  const slots = new Map([...bySlot].map(([number, members]) => [number, slotOf(number, members)]));
  const rollout = view.get('rollout', service.value.id);
  return { view, tick, now: tick.now, service: service.value, serviceRev: service.rev, rollout, slots };
}

/** After how much silence the tasks of this service move. */
function failoverAfter(view: View, service: Service): number {
  const cluster = view.get('cluster', 'default')?.value;
  return service.spec.failoverAfterMs ?? cluster?.failoverAfterMs ?? DEFAULT_FAILOVER_AFTER_MS;
}

function memberOf(
  view: View,
  service: Service,
  stored: Stored<Task>,
  ground: Ground | undefined,
  differences: Map<number, Difference>,
): Member {
  const task = stored.value;
  const status = view.get('task-status', task.id);
  const footing: Footing = ground?.footing ?? { kind: 'unbound' };
  const difference = remembered(differences, task.revision, () =>
    task.revision === service.revision
      ? 'none'
      : differenceOf(service, view.get('revision', revisionKey(service.id, task.revision))?.value),
  );
  return {
    task,
    rev: stored.rev,
    status: status?.value,
    statusRev: status?.rev ?? 0,
    state: stateOf(task, status?.value, footing.kind === 'gone'),
    footing,
    ground,
    isDirty: isDirty(view, service, task, difference),
  };
}

function slotOf(number: number, members: Member[]): Slot {
  const ordered = members.sort((a, b) => order(a.task, b.task));
  return { number, members: ordered, wanted: ordered.filter((member) => isWanted(member.task)) };
}

/** Older first; clocks of two leaders may disagree, so who replaces whom goes first. */
function order(a: Task, b: Task): number {
  if (b.replaces === a.id) return -1;
  if (a.replaces === b.id) return 1;
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
}

function remembered<K, V>(known: Map<K, V>, key: K, find: () => V): V {
  const found = known.get(key);
  if (found !== undefined) return found;
  const value = find();
  known.set(key, value);
  return value;
}

/** True for a task that has ended, or whose node is gone for good. */
export function isDead(member: Member): boolean {
  return isTerminal(member.state);
}

/** True when it takes requests now: running, well, and on a node that is heard. */
export function isServing(member: Member): boolean {
  const { kind } = member.footing;
  return member.state === 'running' && member.status?.healthy === true && (kind === 'firm' || kind === 'drained');
}

/** True when a container of it may be running on a node that still counts. */
export function mayRun(member: Member): boolean {
  if (isDead(member)) return false;
  return member.footing.kind === 'firm' || member.footing.kind === 'shaky' || member.footing.kind === 'drained';
}

/** Checks that hold only while nothing new is known of the task and its node: whether it serves is as it was seen. */
export function unchanged(member: Member): readonly Write[] {
  return [check('task-status', member.task.id, member.statusRev), ...proofOf(member.task, member.ground)];
}

/** A rollout that takes longer than this from slot to slot does not empty drained nodes: the orchestrator does. */
const RIDE_MAX_MS = 60_000;

/**
 * True for a task that a rolling update, going on or about to begin, will replace soon: it need not be moved before, and
 * goes to its new place on the new revision.
 */
export function isForUpdater(scene: Scene, member: Member): boolean {
  const rollout = scene.rollout?.value;
  if (!member.isDirty) return false;
  const { delayMs, monitorMs } = policyInForce(scene);
  if (delayMs + monitorMs > RIDE_MAX_MS) return false;
  return rollout === undefined || rollout.target !== scene.service.revision || !isSettled(rollout.state);
}

/** How the tasks of this service are replaced: as its rollout says, or the one that is about to begin. */
export function policyInForce({ service, rollout }: Scene): UpdatePolicy {
  const isRollback =
    rollout?.value.target === service.revision ? rollout.value.state.startsWith('rollback') : service.rolledBack;
  return isRollback ? service.spec.rollback : service.spec.update;
}

/** What a successor of the task is made from: the service's revision, or its own while an update has not got to it. */
export function revisionFor(scene: Scene, member: Member): number {
  const { serviceId, revision } = member.task;
  if (!member.isDirty) return scene.service.revision;
  return scene.view.get('revision', revisionKey(serviceId, revision)) === undefined ? scene.service.revision : revision;
}

/** The contents that the task was made from; the service's if they are gone. */
export function contentsOf(scene: Scene, task: Task): Pick<ServiceRevision, 'template' | 'ports'> {
  const { spec } = scene.service;
  return scene.view.get('revision', revisionKey(task.serviceId, task.revision))?.value ?? spec;
}
