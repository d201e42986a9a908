/**
 * Whether and when a task that ended by itself gets a successor. Source: swarmkit, restart supervisor; counters are stored (docs/adr/0003).
 *
 * All it needs travels with the task (`Task.restarts`), so a new leader counts on where the old one stopped.
 */
import type { Instant } from '../../common/model/ids.ts';
import type { RestartPolicy } from '../../common/model/service.ts';
import type { RestartCount, Task, TaskStatus } from '../../common/model/task.ts';

/** `leave`: the slot stays as it is until the spec changes. */
export type RestartVerdict =
  | { readonly kind: 'leave'; readonly because: string }
  | { readonly kind: 'replace'; readonly notBefore: Instant; readonly restarts: RestartCount };

/** A task that ran for so long was well: the next failure is the first of a new series. */
const STEADY_RUN_MS = 10_000;
/** From the second failure in a row on, also a policy without delay waits: a crash at every exec must not become a busy loop. */
const BACKOFF_FLOOR_MS = 100;
/** The back-off does not grow beyond this, unless the policy's own delay is longer. */
const BACKOFF_CAP_MS = 60_000;

/** Judges a task that has ended though it was wanted. Times are the manager's. */
export function restartVerdict(task: Task, status: TaskStatus, policy: RestartPolicy): RestartVerdict {
  const diedAt = status.appliedAt;
  if (status.state === 'shutdown') {
    // Stopped by its host and not by itself (an agent that leaves): no failure, but no busy loop either.
    const notBefore = diedAt + Math.max(policy.delayMs, BACKOFF_FLOOR_MS);
    return { kind: 'replace', notBefore, restarts: task.restarts };
  }
  if (policy.condition === 'none') return { kind: 'leave', because: 'restart condition is none' };
  if (policy.condition === 'on-failure' && status.state === 'complete') {
    return { kind: 'leave', because: 'it is complete, and the restart condition is on-failure' };
  }
  const spent = spentBy(task.restarts, status, policy);
  if (policy.maxAttempts > 0 && used(spent, policy) >= policy.maxAttempts) {
    return { kind: 'leave', because: `all ${policy.maxAttempts} restart attempts are used up` };
  }
  const streak = hasRunSteadily(status) ? 1 : spent.streak + 1;
  const notBefore = diedAt + backOff(policy.delayMs, streak);
  return { kind: 'replace', notBefore, restarts: counted(spent, streak, notBefore, policy) };
}

/** How long to wait before a restart that is the `streak`th failure in a row; the first waits exactly `delayMs`. */
export function backOff(delayMs: number, streak: number): number {
  if (streak <= 1) return delayMs;
  const grown = Math.max(delayMs, BACKOFF_FLOOR_MS) * 2 ** Math.min(streak - 1, 32);
  return Math.min(grown, Math.max(delayMs, BACKOFF_CAP_MS));
}

/** What is used up at the time of death: earlier restarts inside the window, and runs that the agent started by itself. */
function spentBy(before: RestartCount, status: TaskStatus, policy: RestartPolicy): RestartCount {
  const rerun = status.runs.slice(1);
  // By its number: of very many runs a host keeps the newest.
  const reruns = Math.max(0, (status.runs.at(-1)?.number ?? 1) - 1);
  const from = status.appliedAt - policy.windowMs;
  const recent = policy.windowMs === 0 ? [] : [...before.recent, ...rerun.map((run) => run.startedAt)];
  return {
    total: before.total + reruns,
    recent: recent.filter((at) => at >= from),
    streak: before.streak,
  };
}

function used(spent: RestartCount, policy: RestartPolicy): number {
  return policy.windowMs === 0 ? spent.total : spent.recent.length;
}

// A restart counts at the time it takes place and not when it was decided: with a long back-off in between, attempts
// that crowd the window's end would seem to lie outside it.
function counted(spent: RestartCount, streak: number, at: Instant, policy: RestartPolicy): RestartCount {
  const isWindowed = policy.windowMs > 0 && policy.maxAttempts > 0;
  const recent = isWindowed ? [...spent.recent, at].slice(-policy.maxAttempts) : [];
  return { total: spent.total + 1, recent, streak };
}

function hasRunSteadily(status: TaskStatus): boolean {
  const last = status.runs.at(-1);
  if (status.runs.length > 1 && last !== undefined) {
    return (last.endedAt ?? status.at) - last.startedAt >= STEADY_RUN_MS;
  }
  return status.runningAt !== undefined && status.appliedAt - status.runningAt >= STEADY_RUN_MS;
}

/** Why a task ended, in a few words. */
export function causeOf(status: TaskStatus): string {
  if (status.error !== undefined && status.error !== '') return status.error;
  if (status.oomKilled) return 'out of memory';
  if (status.exitCode !== undefined) return `exit code ${status.exitCode}`;
  if (status.signal !== undefined) return `killed by signal ${status.signal}`;
  return status.message === '' ? status.state : status.message;
}
