/**
 * What to do next for one task: the agent's only decision about containers.
 *
 * Comes in: what the manager wants (`Assignment`), what is really there (`Seen`), what was last reported, the time. Goes
 * out: one step. It never waits, never looks at the world, and never asks for a step that leads back: reported states
 * only grow, and a container is only made when none of the task runs. docs/task-life.md is generated from it.
 */
import type { Instant } from '../common/model/ids.ts';
import {
  desiredRank,
  isTerminal,
  type ReportedState,
  type Run,
  type Task,
  type TaskStatus,
} from '../common/model/task.ts';
import type { Assignment, ManagerContact } from './assignment.ts';
import { nextRun } from './runs.ts';
import type { Exit } from './runtime/runtime.ts';

/** A leaving task waits so long for a manager's word when there is no session. */
export const LEAVE_WITHOUT_MANAGER_MS = 2_000;

/** The container of the current run. */
export type SeenContainer =
  | { readonly kind: 'none' }
  | { readonly kind: 'created'; readonly attached: boolean }
  | {
      readonly kind: 'running';
      readonly pid: number;
      /** Its health command has passed, its ports answer, or nothing is probed. */
      readonly ready: boolean;
    }
  /** Also a container that was recorded as started and is not there any more: code and signal are null. */
  | { readonly kind: 'exited'; readonly exit: Exit; readonly attached: boolean };

/** What the runner observes of one task. */
export interface Seen {
  /** From 1; greater than the last of the reported runs while a further run is being made. */
  readonly run: number;
  readonly hasImage: boolean;
  readonly container: SeenContainer;
  /** All that were started, also those not reported yet; numbers grow. */
  readonly runs: readonly Run[];
  /** Why this run cannot go on: a step failed for good, it was not ready in time, it is unhealthy. */
  readonly fault?: string;
  /** A step failed for a reason that may pass; not to be tried before. */
  readonly retryAt?: Instant;
  readonly manager: ManagerContact;
  /** Since when the task is out of this node's own maps. */
  readonly withdrawnAt?: Instant;
  /** Since when its open connections are counted. */
  readonly drainingSince?: Instant;
  /** Absent until they were counted. */
  readonly openConnections?: number;
}

/** The facts of a status that the machine decides on; the runner adds identity, times and runs. */
export interface Said {
  readonly state: ReportedState;
  readonly message: string;
  readonly healthy: boolean;
  readonly error?: string;
  readonly exit?: Exit;
}

export type Action =
  | { readonly kind: 'report'; readonly said: Said }
  | { readonly kind: 'pull' }
  | { readonly kind: 'create' }
  | { readonly kind: 'attach' }
  | { readonly kind: 'start' }
  /** Out of this node's own maps; connections go on. */
  | { readonly kind: 'withdraw' }
  /** Begin to count open connections. */
  | { readonly kind: 'drain' }
  /** Stop signal, grace, kill. */
  | { readonly kind: 'stop' }
  /** Forget the link of a container that has ended. */
  | { readonly kind: 'detach' }
  /** Remove a container that was never started. */
  | { readonly kind: 'discard' }
  /** Turn to the next run of this task; the container of the last one has ended. */
  | { readonly kind: 'run-again' }
  /** Nothing until something changes, or until then. */
  | { readonly kind: 'wait'; readonly until?: Instant; readonly because: string }
  | { readonly kind: 'end' };

/** The next step of a task. Pure; called again after every step and every change. */
export function next(held: Assignment, seen: Seen, last: TaskStatus | undefined, now: Instant): Action {
  if (last !== undefined && isTerminal(last.state)) return tidy(seen);
  if (isLeaving(held.task)) return leave(held, seen, last, now);
  if (last === undefined) return report('accepted', 'accepted');
  switch (last.state) {
    case 'accepted':
      return report('preparing', 'preparing the container');
    case 'preparing':
    case 'ready':
      return prepare(held, seen, last, now);
    case 'starting':
      return begin(seen, now);
    case 'running':
      return serve(held, seen, last, now);
    case 'complete':
    case 'shutdown':
    case 'failed':
    case 'rejected':
      return { kind: 'end' };
  }
}

/** True once managers want the task to go. */
export function isLeaving(task: Task): boolean {
  return desiredRank(task.desired) >= desiredRank('shutdown');
}

function tidy(seen: Seen): Action {
  switch (seen.container.kind) {
    case 'none':
      return { kind: 'end' };
    case 'created':
      return { kind: 'discard' };
    case 'running':
      return { kind: 'stop' };
    case 'exited':
      return seen.container.attached ? { kind: 'detach' } : { kind: 'end' };
  }
}

function prepare(held: Assignment, seen: Seen, last: TaskStatus, now: Instant): Action {
  if (seen.fault !== undefined) {
    if (seen.container.kind === 'created') return { kind: 'discard' };
    return report('rejected', 'cannot be started here', { error: seen.fault });
  }
  const step = build(seen, now);
  if (step !== undefined) return step;
  if (last.state === 'preparing') return report('ready', 'prepared');
  // A container that runs already was started by an agent that died before it could say so.
  if (held.task.desired === 'ready' && seen.container.kind === 'created') return wait('held back by the manager');
  return report('starting', 'starting');
}

/** The steps up to a container that may be started; undefined when it is there. */
function build(seen: Seen, now: Instant): Action | undefined {
  const { container } = seen;
  const unattached = container.kind === 'created' && !container.attached;
  if (container.kind !== 'none' && !unattached) return undefined;
  if (seen.retryAt !== undefined && now < seen.retryAt) return wait('trying again soon', seen.retryAt);
  if (unattached) return { kind: 'attach' };
  return seen.hasImage ? { kind: 'create' } : { kind: 'pull' };
}

function begin(seen: Seen, now: Instant): Action {
  const { container, fault } = seen;
  switch (container.kind) {
    case 'none':
      return report('failed', 'could not be started', { error: fault ?? 'the container is gone' });
    case 'created':
      if (fault !== undefined) return { kind: 'discard' };
      return startOrWait(seen, now);
    case 'running':
      if (fault !== undefined) return { kind: 'stop' };
      return container.ready ? report('running', 'running') : wait('not ready yet');
    case 'exited':
      return ended(container.exit, fault);
  }
}

function startOrWait(seen: Seen, now: Instant): Action {
  const step = build(seen, now);
  if (step !== undefined) return step;
  if (seen.retryAt !== undefined && now < seen.retryAt) return wait('trying again soon', seen.retryAt);
  return { kind: 'start' };
}

function serve(held: Assignment, seen: Seen, last: TaskStatus, now: Instant): Action {
  const { container, fault } = seen;
  switch (container.kind) {
    case 'none':
    case 'created':
      return againOrGiveUp(seen, now);
    case 'running':
      // Its shim ran it again while no agent was there: told before anything else, and it has yet to prove itself.
      if (seen.run > (last.runs.at(-1)?.number ?? seen.run)) {
        return report('running', container.ready ? 'running' : 'was run again here', { healthy: container.ready });
      }
      if (fault !== undefined) {
        // First out of every load balancer, then away.
        if (last.healthy) return report('running', fault, { healthy: false });
        return seen.withdrawnAt === undefined ? { kind: 'withdraw' } : { kind: 'stop' };
      }
      if (container.ready && !last.healthy) return report('running', 'running');
      return wait(container.ready ? 'running' : 'not ready yet');
    case 'exited': {
      // Said first: a replacement waits for the word and not for our cleaning up (docs/performance.md).
      const step = died(held, seen, last, container.exit, now);
      return step.kind === 'report' || !container.attached ? step : { kind: 'detach' };
    }
  }
}

/** A running task's container has ended: the manager's business, or ours while there is none. */
function died(held: Assignment, seen: Seen, last: TaskStatus, exit: Exit, now: Instant): Action {
  const end = ended(exit, seen.fault);
  if (seen.manager.kind === 'session') return end;
  const verdict = nextRun({ held, runs: seen.runs, exit, failed: seen.fault !== undefined }, seen.manager, now);
  if (verdict.kind === 'end') return end;
  if (last.healthy) return report('running', `${howItEnded(exit)}; no manager to ask`, { healthy: false });
  return verdict.kind === 'run' ? { kind: 'run-again' } : wait('no manager to ask', verdict.until);
}

/** A further run is being made. With a manager back before it started, the death is reported and nothing starts. */
function againOrGiveUp(seen: Seen, now: Instant): Action {
  const { container, fault } = seen;
  if (fault !== undefined || seen.manager.kind === 'session') {
    if (container.kind === 'created') return { kind: 'discard' };
    const run = seen.runs.at(-1);
    return report('failed', 'could not be run again', {
      error: fault ?? `exited with code ${run?.exitCode ?? 'unknown'} while no manager was reachable`,
    });
  }
  return startOrWait(seen, now);
}

function leave(held: Assignment, seen: Seen, last: TaskStatus | undefined, now: Instant): Action {
  const { container } = seen;
  const why = held.task.because ?? 'stopped by the manager';
  switch (container.kind) {
    case 'none':
      return report('shutdown', why);
    case 'created':
      return { kind: 'discard' };
    case 'exited':
      return report('shutdown', why, { exit: container.exit });
    case 'running':
      return leaveMaps(held, seen, last, now);
  }
}

/** Leaving (docs/task-life.md): out of the maps, acknowledged, connections gone or the drain time over, then the stop signal. */
function leaveMaps(held: Assignment, seen: Seen, last: TaskStatus | undefined, now: Instant): Action {
  // What never served has no connections to lose; what is unhealthy is not worth waiting for.
  if (last?.state !== 'running' || seen.fault !== undefined) return { kind: 'stop' };
  if (seen.withdrawnAt === undefined) return { kind: 'withdraw' };
  if (held.revision.ports.length > 0 && !held.released) {
    if (seen.manager.kind === 'session') return wait('every node to take it out of its maps');
    const freeAt = Math.max(seen.manager.since, seen.withdrawnAt) + LEAVE_WITHOUT_MANAGER_MS;
    if (now < freeAt) return wait('a manager', freeAt);
  }
  if (seen.drainingSince === undefined) return { kind: 'drain' };
  const drainedAt = seen.drainingSince + held.revision.template.container.drainMs;
  if (seen.openConnections === 0 || now >= drainedAt) return { kind: 'stop' };
  return wait('open connections', drainedAt);
}

function ended(exit: Exit, fault: string | undefined): Action {
  if (fault !== undefined) return report('failed', 'stopped', { error: fault, exit });
  if (exit.code === 0 && !exit.oomKilled) return report('complete', 'finished', { exit });
  return report('failed', 'ended by itself', { error: howItEnded(exit), exit });
}

/** Source: signal(7), x86 and ARM. */
const SIGSYS = 31;

/** In words for `ps`: the exit code, the signal, or that nobody knows. */
export function howItEnded(exit: Exit): string {
  if (exit.oomKilled) return 'killed: out of memory';
  // With an init, and from shells, as an exit code.
  if (exit.signal === SIGSYS || exit.code === 128 + SIGSYS) {
    return (
      'killed by SIGSYS: the seccomp profile forbids a system call that the program makes; ' +
      'a static program begins with arch_prctl, which every profile has to allow'
    );
  }
  if (exit.code !== null) return `exited with code ${exit.code}`;
  if (exit.signal !== null) return `killed by signal ${exit.signal}`;
  return 'the container is gone: the host was restarted or its exit record was lost';
}

function report(state: ReportedState, message: string, more: Partial<Said> = {}): Action {
  return { kind: 'report', said: { state, message, healthy: state === 'running', ...more } };
}

function wait(because: string, until?: Instant): Action {
  return until === undefined ? { kind: 'wait', because } : { kind: 'wait', because, until };
}
