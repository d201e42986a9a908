/**
 * Deletes the records of tasks that are over: all of those to be removed, and of the rest what exceeds the history
 * (Source: swarmkit, task reaper). A task goes together with its status.
 */
import { DEFAULT_TASK_HISTORY } from '../../common/model/cluster.ts';
import type { Instant, Revision, ServiceId } from '../../common/model/ids.ts';
import { isSettled, type Rollout } from '../../common/model/rollout.ts';
import type { Service } from '../../common/model/service.ts';
import { isTerminal, isWanted, stateOf, type Task } from '../../common/model/task.ts';
import type { Reconciler } from '../reconcile.ts';
import { check, remove, type Stored, type Unit, type View } from '../store/store.ts';
import { allServices, servicesOf } from './keys.ts';

/** The reconciler of task records; key = service id. */
export const reap: Reconciler = {
  name: 'reap',
  keysOf: servicesOf,
  allKeys: allServices,
  decide(view, key) {
    const service = view.get('service', key)?.value;
    const rollout = view.get('rollout', key)?.value;
    const over = new Map<number, Remains[]>();
    const units: Unit[] = [];
    for (const stored of view.tasksOf(key as ServiceId)) {
      const remains = remainsOf(view, stored);
      if (remains === undefined) continue;
      const others = over.get(stored.value.slot);
      if (!remains.isKept) units.push(burial(remains));
      else if (others === undefined) over.set(stored.value.slot, [remains]);
      else others.push(remains);
    }
    const limit = historyLimit(view, service);
    for (const remains of over.values()) {
      units.push(
        ...excess(remains, limit)
          .filter((one) => !isAwaited(one.task, rollout))
          .map(burial),
      );
    }
    return { units };
  },
};

/** A task that is over. */
interface Remains {
  readonly task: Task;
  readonly rev: Revision;
  readonly statusRev: Revision;
  readonly at: Instant;
  /** Counts as history: it once had a node, and nobody wants it removed. */
  readonly isKept: boolean;
}

function remainsOf(view: View, { value: task, rev }: Stored<Task>): Remains | undefined {
  const status = view.get('task-status', task.id);
  const state = stateOf(task, status?.value, isGone(view, task));
  if (!isTerminal(state)) return undefined;
  const at = status?.value.appliedAt ?? task.desiredAt;
  const isKept = isWanted(task) || (task.desired !== 'remove' && task.nodeId !== undefined);
  return { task, rev, statusRev: status?.rev ?? 0, at, isKept };
}

function isGone(view: View, task: Task): boolean {
  if (task.nodeId === undefined) return false;
  return view.get('node', task.nodeId) === undefined || view.get('node-status', task.nodeId)?.value.state === 'lost';
}

/** Negative = all are kept. With bounded restarts every attempt can be looked at. */
function historyLimit(view: View, service: Service | undefined): number {
  const attempts = service?.spec.template.restart.maxAttempts ?? 0;
  if (attempts > 0) return attempts + 1;
  return view.get('cluster', 'default')?.value.taskHistory ?? DEFAULT_TASK_HISTORY;
}

/** The oldest beyond the limit. A dead task that its slot still rests on counts, but stays. */
function excess(remains: readonly Remains[], limit: number): readonly Remains[] {
  if (limit < 0 || remains.length <= limit) return [];
  const wanted = remains.filter(({ task }) => isWanted(task));
  const unwanted = remains.filter(({ task }) => !isWanted(task)).sort((a, b) => b.at - a.at);
  return unwanted.slice(Math.max(0, limit - wanted.length));
}

/** A going rollout has yet to see how this task ended; once the slot is done or failed it needs no proof any more. */
function isAwaited(task: Task, rollout: Rollout | undefined): boolean {
  if (rollout === undefined || isSettled(rollout.state) || task.rollout !== rollout.target) return false;
  return !rollout.done.includes(task.slot) && !rollout.failed.some((failure) => failure.slot === task.slot);
}

function burial({ task, rev, statusRev }: Remains): Unit {
  const status = statusRev === 0 ? check('task-status', task.id, 0) : remove('task-status', task.id, statusRev);
  return [remove('task', task.id, rev), status];
}
