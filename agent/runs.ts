/** Whether a task that died without a manager in reach may run again on this node, and when. Pure. */
import type { Instant } from '../common/model/ids.ts';
import type { Run } from '../common/model/task.ts';
import type { Assignment, LostContact } from './assignment.ts';
import type { Exit, RestartInPlace } from './runtime/runtime.ts';

/** Runs after a quick death wait twice as long each time, up to this. */
const DELAY_MAX_MS = 60_000;
/** A run that held out so long was no quick death. */
const STEADY_MS = 10_000;

export interface Death {
  readonly held: Assignment;
  /** All runs so far, the dead one last. */
  readonly runs: readonly Run[];
  readonly exit: Exit;
  /** We stopped it: it was unhealthy or not ready in time. */
  readonly failed: boolean;
}

export type RunVerdict =
  /** The policy or the budget says no: the task is over. */
  { readonly kind: 'end' } | { readonly kind: 'wait'; readonly until: Instant } | { readonly kind: 'run' };

/**
 * Runs count against the budget that came with the assignment: `Task.restarts` are the manager's restarts of the slot,
 * each run of ours after the first is one more. Nothing is run before a third of `failoverAfter` has passed, so that the
 * manager's own restart, if it comes, is the only one.
 */
export function nextRun(death: Death, lost: LostContact, now: Instant): RunVerdict {
  const { held, runs, exit } = death;
  const policy = held.revision.template.restart;
  const succeeded = exit.code === 0 && !exit.oomKilled && !death.failed;
  if (policy.condition === 'none' || (policy.condition === 'on-failure' && succeeded)) return { kind: 'end' };
  const endedAt = runs.at(-1)?.endedAt ?? exit.finishedAt;
  if (policy.maxAttempts > 0 && restartsSoFar(death, endedAt) >= policy.maxAttempts) return { kind: 'end' };
  const failoverAfterMs = held.revision.failoverAfterMs ?? lost.failoverAfterMs;
  const until = Math.max(lost.since + failoverAfterMs / 3, endedAt + delayMs(death));
  return now < until ? { kind: 'wait', until } : { kind: 'run' };
}

/**
 * The same rule for the time in which not even an agent is there, as run `run` gets it along: its shim goes by it (native/shim/
 * restart.h). Empty: never.
 */
export function inPlaceRule(
  held: Assignment,
  run: number,
  clusterFailoverAfterMs: number,
): { readonly restart?: RestartInPlace } {
  const { restarts } = held.task;
  const { condition, delayMs: delay, maxAttempts, windowMs } = held.revision.template.restart;
  if (condition === 'none') return {};
  const used = (windowMs === 0 ? restarts.total : restarts.recent.length) + run - 1;
  const failoverAfterMs = held.revision.failoverAfterMs ?? clusterFailoverAfterMs;
  const holdMs = Math.ceil(failoverAfterMs / 3);
  return { restart: { condition, delayMs: delay, maxAttempts, windowMs, used, holdMs } };
}

function restartsSoFar(death: Death, endedAt: Instant): number {
  const { restarts } = death.held.task;
  const { windowMs } = death.held.revision.template.restart;
  const ours = death.runs.slice(1);
  // By its number: of very many the oldest are not kept.
  if (windowMs === 0) return restarts.total + Math.max(0, (death.runs.at(-1)?.number ?? 1) - 1);
  const inside = (at: Instant): boolean => at > endedAt - windowMs;
  return restarts.recent.filter(inside).length + ours.filter((run) => inside(run.startedAt)).length;
}

function delayMs(death: Death): number {
  const { delayMs: first } = death.held.revision.template.restart;
  const quick = death.runs.toReversed().findIndex((run) => (run.endedAt ?? run.startedAt) - run.startedAt >= STEADY_MS);
  const streak = Math.max(0, (quick === -1 ? death.runs.length : quick) - 1);
  return Math.max(first, Math.min(first * 2 ** Math.min(streak, 16), DELAY_MAX_MS));
}
