/**
 * A service's way to where it should be, as one picture with a verdict. PURE but for the stream at the end of
 * progress-stream.ts. In: the view, the service and the time. Out: the whole picture; it keeps nothing between two of
 * them, so any manager can go on with it.
 */
import type { Instant, ServiceId, TaskId } from '../../common/model/ids.ts';
import { isSettled, type Rollout } from '../../common/model/rollout.ts';
import { revisionKey, type Service, type ServiceRevision } from '../../common/model/service.ts';
import { isTerminal, isWanted, stateOf, type Task, type TaskState, type TaskStatus } from '../../common/model/task.ts';
import { differenceOf, isDirty } from '../orchestrator/dirty.ts';
import { restartVerdict } from '../orchestrator/restart.ts';
import type { NodeReason } from '../scheduler/explain.ts';
import type { View } from '../store/store.ts';
import { isNodeGone, nodeNameOf } from './names.ts';
import { explainer } from './tasks.ts';

export type Verdict = 'waiting' | 'converged' | 'paused' | 'rolled_back' | 'removed';

export interface SlotPicture {
  readonly slot: number;
  readonly taskId: TaskId;
  readonly state: TaskState;
  readonly nodeName: string;
  /** Error, health or pending reason. */
  readonly message: string;
  /** On the wanted revision. */
  readonly current: boolean;
  readonly refusals: readonly NodeReason[];
}

export interface ServiceProgress {
  readonly verdict: Verdict;
  readonly message: string;
  readonly desired: number;
  readonly running: number;
  /** In order of slot. */
  readonly slots: readonly SlotPicture[];
  readonly rollout: Rollout | undefined;
  readonly cannotPlace: boolean;
  /** 0 while something is missing. */
  readonly stableForMs: number;
  readonly stableNeedsMs: number;
  /** When the picture changes by time alone. */
  readonly wakeAt?: Instant;
}

/** How a slot's best task stands. */
interface Slot {
  readonly picture: SlotPicture;
  /** Wanted, running, healthy and on the wanted revision. */
  readonly holds: boolean;
  readonly since: Instant;
  /** More than one wanted task. */
  readonly crowded: boolean;
  /** Its task has ended and the restart policy allows no other: why. */
  readonly gaveUp: string | undefined;
}

/**
 * The picture of one service now; `removed` when it is gone.
 * @param rollbackWanted  the spec in force came from a rollback that the user asked for: its success is a success
 */
export function serviceProgress(
  view: View,
  serviceId: ServiceId,
  now: Instant,
  rollbackWanted: { readonly byUser: boolean } = { byUser: false },
): ServiceProgress {
  const service = view.get('service', serviceId)?.value;
  if (service === undefined) return gone();
  const rollout = view.get('rollout', serviceId)?.value;
  const slots = slotsOf(view, service, now);
  const running = slots.filter(({ picture }) => picture.state === 'running').length;
  const base = {
    desired: service.spec.mode.replicas,
    running,
    slots: slots.map(({ picture }) => picture),
    rollout,
    cannotPlace: slots.some(({ picture }) => picture.state === 'pending'),
    stableNeedsMs: service.spec.update.monitorMs,
  };
  const stopped = haltOf(service, rollout) ?? surrenderOf(service, slots, rollout);
  if (stopped !== undefined) return { ...base, ...stopped, stableForMs: 0 };
  const lack = lackOf(service, slots, rollout) ?? leavingOf(view, service);
  if (lack !== undefined) return { ...base, verdict: 'waiting', message: lack, stableForMs: 0 };
  const hold = settled(service, slots, rollout, now);
  const isFailure = hold.verdict === 'converged' && !rollbackWanted.byUser;
  const rolledBack = isFailure ? rolledBackBy(service, rollout) : undefined;
  return { ...base, ...hold, ...(rolledBack === undefined ? {} : { verdict: 'rolled_back', message: rolledBack }) };
}

function gone(): ServiceProgress {
  return {
    verdict: 'removed',
    message: 'the service has been removed',
    desired: 0,
    running: 0,
    slots: [],
    rollout: undefined,
    cannotPlace: false,
    stableForMs: 0,
    stableNeedsMs: 0,
  };
}

/** A rollout that stopped before its end, of the revision in force. */
function haltOf(
  service: Service,
  rollout: Rollout | undefined,
): Pick<ServiceProgress, 'verdict' | 'message'> | undefined {
  if (rollout === undefined || rollout.target !== service.revision) return undefined;
  if (rollout.state !== 'paused' && rollout.state !== 'rollback_paused') return undefined;
  return { verdict: 'paused', message: rollout.message };
}

/** Nothing is on its way any more, and slots whose restart policy is spent stay empty: waiting would never end. */
function surrenderOf(
  service: Service,
  slots: readonly Slot[],
  rollout: Rollout | undefined,
): Pick<ServiceProgress, 'verdict' | 'message'> | undefined {
  if (rollout !== undefined && rollout.target === service.revision && !isSettled(rollout.state)) return undefined;
  const lost = slots.find((slot) => slot.gaveUp !== undefined);
  if (lost === undefined || !slots.every((slot) => slot.holds || slot.gaveUp !== undefined)) return undefined;
  const { slot, state, message } = lost.picture;
  const why = message === '' ? '' : ` (${message})`;
  return { verdict: 'paused', message: `${service.spec.name}.${slot} is ${state}${why} and stays so: ${lost.gaveUp}` };
}

/** What is still missing, in words; undefined when every slot holds. */
function lackOf(service: Service, slots: readonly Slot[], rollout: Rollout | undefined): string | undefined {
  const { replicas } = service.spec.mode;
  const holding = slots.filter(({ holds }) => holds).length;
  if (rollout !== undefined && rollout.target === service.revision && !isSettled(rollout.state)) {
    const done = `${holding} of ${replicas} on the wanted revision`;
    return rollout.message === '' ? done : `${done}: ${rollout.message}`;
  }
  const waiting = slots.find(({ holds }) => !holds);
  if (waiting !== undefined) {
    const { slot, state, message, current } = waiting.picture;
    const why = message === '' ? '' : `: ${message}`;
    const what = !current && state === 'running' ? 'still runs the old revision' : `is ${state}`;
    return `${service.spec.name}.${slot} ${what}${why}`;
  }
  if (holding < replicas) return `${holding} of ${replicas} tasks are there`;
  if (holding > replicas) return `${holding - replicas} more tasks than wanted are there`;
  const crowded = slots.find((slot) => slot.crowded);
  return crowded === undefined ? undefined : `${service.spec.name}.${crowded.picture.slot}: its old task is to stop`;
}

/** Tasks that were told to stop and may still run, on nodes that can be asked. */
function leavingOf(view: View, service: Service): string | undefined {
  let count = 0;
  for (const { value: task } of view.tasksOf(service.id)) if (!isWanted(task) && isStopping(view, task)) count += 1;
  if (count === 0) return undefined;
  return count === 1 ? '1 old task is stopping' : `${count} old tasks are stopping`;
}

/** All slots hold: the verdict follows when they have held for the monitor time. */
function settled(
  service: Service,
  slots: readonly Slot[],
  rollout: Rollout | undefined,
  now: Instant,
): Pick<ServiceProgress, 'verdict' | 'message' | 'stableForMs' | 'wakeAt'> {
  const needsMs = service.spec.update.monitorMs;
  const changed = service.spec.mode.replicas === 0 ? now - needsMs : service.createdAt;
  const since = slots.reduce((latest, slot) => Math.max(latest, slot.since), changed);
  // Tasks that a completed update has watched have held out the monitor time already; later ones have not.
  const proven = rollout?.target === service.revision && since <= (rollout.completedAt ?? 0);
  const stableForMs = proven ? needsMs : Math.min(needsMs, Math.max(0, now - since));
  if (stableForMs < needsMs) {
    const message = 'all tasks run; waiting that they hold out';
    return { verdict: 'waiting', message, stableForMs, wakeAt: since + needsMs };
  }
  return { verdict: 'converged', message: 'service converged', stableForMs };
}

/** Set when the spec in force came from an automatic rollback: its rollout says why. A rollback by hand is no failure. */
function rolledBackBy(service: Service, rollout: Rollout | undefined): string | undefined {
  if (!service.rolledBack || rollout?.state !== 'rollback_completed' || rollout.target !== service.revision)
    return undefined;
  return rollout.message === '' ? 'the update failed and was rolled back' : rollout.message;
}

function slotsOf(view: View, service: Service, now: Instant): readonly Slot[] {
  const bySlot = new Map<number, Task[]>();
  for (const { value: task } of view.tasksOf(service.id)) {
    if (task.desired === 'remove') continue;
    bySlot.set(task.slot, [...(bySlot.get(task.slot) ?? []), task]);
  }
  const explain = explainer(view, now);
  const slots: Slot[] = [];
  for (const [number, tasks] of bySlot) {
    const slot = slotOf(view, service, number, tasks, explain);
    if (slot !== undefined) slots.push(slot);
  }
  return slots.sort((a, b) => a.picture.slot - b.picture.slot);
}

function slotOf(
  view: View,
  service: Service,
  slot: number,
  ...[tasks, explain]: [readonly Task[], (task: Task) => readonly NodeReason[]]
): Slot | undefined {
  const wanted = tasks.filter(isWanted).sort((a, b) => b.createdAt - a.createdAt);
  const newest = [...tasks].sort((a, b) => b.createdAt - a.createdAt)[0];
  // A slot whose task ended for good still shows: restart condition none.
  const task = wanted[0] ?? newest;
  if (task === undefined) return undefined;
  const status = view.get('task-status', task.id)?.value;
  const state = stateOf(task, status, isNodeGone(view, task));
  if (wanted.length === 0 && state === 'shutdown') return undefined;
  const revision = view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
  const current = !isDirty(view, service, task, differenceOf(service, revision));
  return {
    picture: {
      slot,
      taskId: task.id,
      state,
      nodeName: nodeNameOf(view, task.nodeId),
      message: wordsOf(task, state, status),
      current,
      refusals: explain(task),
    },
    holds: task.desired === 'running' && state === 'running' && status?.healthy === true && current,
    since: status?.runningAt ?? status?.appliedAt ?? 0,
    crowded: wanted.length > 1,
    gaveUp: surrender(task, state, status, revision),
  };
}

function surrender(
  task: Task,
  state: TaskState,
  status: TaskStatus | undefined,
  revision: ServiceRevision | undefined,
): string | undefined {
  if (!isTerminal(state) || !isWanted(task) || status === undefined || revision === undefined) return undefined;
  const verdict = restartVerdict(task, status, revision.template.restart);
  return verdict.kind === 'leave' ? verdict.because : undefined;
}

/** A task told to stop whose container may still run, on a node that can be asked. */
function isStopping(view: View, task: Task): boolean {
  if (task.nodeId === undefined || isNodeGone(view, task)) return false;
  const status = view.get('task-status', task.id)?.value;
  if (status === undefined || isTerminal(status.state)) return false;
  return view.get('node-status', task.nodeId)?.value.state === 'ready';
}

function wordsOf(
  task: Task,
  state: TaskState,
  status: { readonly message: string; readonly error?: string; readonly healthy: boolean } | undefined,
): string {
  if (state === 'new' || state === 'pending') return task.pending ?? '';
  if (status?.error !== undefined) return status.error;
  if (state === 'running' && status?.healthy === false) return `unhealthy: ${status.message}`;
  return state === 'running' ? '' : (status?.message ?? '');
}
