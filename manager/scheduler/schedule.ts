/**
 * The scheduler: binds tasks to nodes, or writes on them why it cannot.
 *
 * In: tasks without a node that are wanted, the nodes, and what their tasks hold. Out: one unit a task, which binds it
 * (node and address together) only while task and node are as they were seen. It must never move a task that has a
 * node, and never write a reason that is already there: a cluster at rest gets an empty plan.
 */
import type { Instant } from '../../common/model/ids.ts';
import { isTerminal, isWanted, type Task, type TaskStatus } from '../../common/model/task.ts';
import { NOTHING, type Plan, type Reconciler } from '../reconcile.ts';
import { type Change, check, put, type Stored, type Unit, type View } from '../store/store.ts';
import { NO_REVISION, summary } from './explain.ts';
import { candidatesOf, type Group, groupsOf, isWaiting } from './group.ts';
import { Ranking } from './rank.ts';
import { Seats, type Want } from './seats.ts';

/** Writes of one plan; the rest follows at once. Bounds how long one decision holds up the process. */
export const UNITS_A_PLAN_MAX = 500;

export const schedule: Reconciler<'cluster'> = {
  name: 'schedule',
  *keysOf(change) {
    if (concerns(change)) yield 'cluster';
  },
  *allKeys() {
    yield 'cluster';
  },
  decide(view, _key, tick) {
    const groups = groupsOf(view);
    if (groups.length === 0) return NOTHING;
    const seats = new Seats(view);
    const units: Unit[] = [];
    for (const group of groups) {
      if (!place(view, group, { seats, units, now: tick.now })) return { units, wakeAt: tick.now };
    }
    return { units } satisfies Plan;
  },
};

/** What one plan works on. */
interface Draft {
  readonly seats: Seats;
  readonly units: Unit[];
  readonly now: Instant;
}

/** Binds what fits, best node first; false when the plan is full before the group is through. */
function place(view: View, group: Group, draft: Draft): boolean {
  const [first] = group.tasks;
  const want = first === undefined ? undefined : draft.seats.want(first.value);
  if (want === undefined) return explain(group.tasks, NO_REVISION, draft);
  const candidates = candidatesOf(view, want, draft.seats, draft.now);
  const ranking = new Ranking(want, candidates);
  for (const [index, task] of group.tasks.entries()) {
    if (draft.units.length >= UNITS_A_PLAN_MAX) return false;
    const unit = bind(task, want, ranking, draft);
    // Equal requirements: what does not fit this one fits none of the rest.
    if (unit === undefined) return explain(group.tasks.slice(index), summary(want, candidates, draft.seats), draft);
    draft.units.push(unit);
  }
  return true;
}

function bind(stored: Stored<Task>, want: Want, ranking: Ranking, { seats, now }: Draft): Unit | undefined {
  for (let best = ranking.best(); best !== undefined; best = ranking.best()) {
    const address = seats.take(best.seat, want);
    if (address === undefined) {
      ranking.drop();
      continue;
    }
    ranking.taken(best);
    const { node, statusRev } = best.seat;
    const { pending: _pending, ...task } = stored.value;
    return [
      put('task', task.id, { ...task, nodeId: node.value.id, address, assignedAt: now }, stored.rev),
      check('node', node.value.id, node.rev),
      check('node-status', node.value.id, statusRev),
    ];
  }
  return undefined;
}

function explain(tasks: readonly Stored<Task>[], pending: string, { units }: Draft): boolean {
  for (const { value: task, rev } of tasks) {
    if (task.pending === pending) continue;
    if (units.length >= UNITS_A_PLAN_MAX) return false;
    units.push([put('task', task.id, { ...task, pending }, rev)]);
  }
  return true;
}

/** A change that adds a task to place, or frees or offers room. Starting and running tasks change nothing here. */
function concerns(change: Change): boolean {
  switch (change.kind) {
    case 'task':
      return addsWork(change.before, change.after) || freesRoom(change.before, change.after);
    case 'task-status':
      return hasEnded(change.after) !== hasEnded(change.before);
    case 'node':
    case 'node-status':
    case 'image':
    case 'cluster':
    case 'revision':
      return true;
    case 'container':
      // Its ports are free again, or others.
      return (change.before?.ports.length ?? 0) > 0;
    case 'manager':
    case 'leader':
    case 'login':
    case 'service':
    case 'rollout':
    case 'name':
      return false;
  }
}

function addsWork(before: Task | undefined, after: Task | undefined): boolean {
  return before === undefined && after !== undefined && isWaiting(after);
}

function freesRoom(before: Task | undefined, after: Task | undefined): boolean {
  return before?.nodeId !== undefined && (after === undefined || (isWanted(before) && !isWanted(after)));
}

function hasEnded(status: TaskStatus | undefined): boolean {
  return status !== undefined && isTerminal(status.state);
}
