/** What may never change about one object, or only in one direction (invariants I1, I2, I3, I18, I19). */
import { isSettled, type Rollout } from '../../common/model/rollout.ts';
import { desiredRank, isTerminal, rank, type Task, type TaskStatus } from '../../common/model/task.ts';
import type { Change } from '../../manager/store/store.ts';

/** What went backwards, if anything did. */
export function backwards(change: Change): string | undefined {
  switch (change.kind) {
    case 'task':
      return taskFlaw(change.before, change.after);
    case 'task-status':
      return statusFlaw(change.before, change.after);
    case 'rollout':
      return rolloutFlaw(change.before, change.after);
    case 'node':
      if (change.before?.block === undefined || change.after === undefined) return undefined;
      return change.after.block === change.before.block ? undefined : `block: node ${change.id} gets another block`;
    case 'cluster':
    case 'manager':
    case 'leader':
    case 'service':
    case 'revision':
    case 'node-status':
    case 'image':
    case 'login':
    case 'name':
    case 'container':
      return undefined;
  }
}

function taskFlaw(before: Task | undefined, after: Task | undefined): string | undefined {
  if (before === undefined || after === undefined) return undefined;
  if (desiredRank(after.desired) < desiredRank(before.desired)) {
    return `I2: desired of task ${after.id} goes from ${before.desired} back to ${after.desired}`;
  }
  const moved = before.nodeId !== undefined && (before.nodeId !== after.nodeId || before.address !== after.address);
  if (moved)
    return `I3: task ${after.id} goes from ${before.nodeId} ${before.address} to ${after.nodeId} ${after.address}`;
  const isOther =
    before.serviceId !== after.serviceId || before.slot !== after.slot || before.revision !== after.revision;
  return isOther ? `I3: task ${after.id} changes its slot or revision` : undefined;
}

function statusFlaw(before: TaskStatus | undefined, after: TaskStatus | undefined): string | undefined {
  if (before === undefined || after === undefined) return undefined;
  if (rank(after.state) < rank(before.state) || (isTerminal(before.state) && after.state !== before.state)) {
    return `I1: task ${after.taskId} goes from ${before.state} to ${after.state}`;
  }
  return before.runningAt === after.runningAt || before.runningAt === undefined
    ? undefined
    : `I1: task ${after.taskId} changes the time at which it began to run`;
}

function rolloutFlaw(before: Rollout | undefined, after: Rollout | undefined): string | undefined {
  if (before === undefined || after === undefined || before.startedAt !== after.startedAt) return undefined;
  if (before.target !== after.target) return undefined;
  if (isSettled(before.state) && before.state !== after.state) {
    return `I19: rollout of ${after.serviceId} goes from ${before.state} to ${after.state}`;
  }
  const wentBack = before.state.startsWith('rollback') && !after.state.startsWith('rollback');
  if (wentBack) return `I18: rollback of ${after.serviceId} turns into ${after.state}`;
  if (after.failed.length < before.failed.length) return `I17: rollout of ${after.serviceId} forgets a failure`;
  return before.done.every((slot) => after.done.includes(slot))
    ? undefined
    : `I19: rollout of ${after.serviceId} forgets a slot that was done`;
}
