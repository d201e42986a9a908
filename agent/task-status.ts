/** What is seen and said of a task, from what its container does. Pure. */
import type { Instant, NodeId, TaskId } from '../common/model/ids.ts';
import type { Run, TaskStatus } from '../common/model/task.ts';
import { noteOf } from './container-request.ts';
import type { Container, Exit } from './runtime/runtime.ts';
import type { Said, SeenContainer } from './task-machine.ts';

/** The end of a container that nobody saw. */
export const LOST_EXIT = { code: null, signal: null, oomKilled: false } as const;

/** What the task machine is to see of a container. @param status  what was said of its run; undefined for a fresh one */
export function seenFrom(container: Container, status: TaskStatus | undefined): SeenContainer {
  switch (container.state) {
    case 'created':
      return { kind: 'created', attached: false };
    // One that stands still is there all the same; what it fails to answer, its health check says.
    case 'running':
    case 'paused':
      return { kind: 'running', pid: container.pid, ready: status?.state === 'running' && status.healthy };
    case 'exited': {
      const { createdAt } = container;
      const lost = { ...LOST_EXIT, startedAt: createdAt, finishedAt: createdAt };
      return { kind: 'exited', exit: container.exit ?? lost, attached: true };
    }
  }
}

/** A container that was found when the agent came up, as its task is to take it over. */
export interface Adoption {
  readonly container: Container;
  readonly seen: SeenContainer;
  /** The run that it was made for, as its id says. */
  readonly madeFor: number;
  /** The run that it is in: later by each time it was run again in place. */
  readonly run: number;
  readonly runs: readonly Run[];
  /** It was run again while no agent was there: nobody has seen this run healthy or ready. */
  readonly isFurther: boolean;
}

/** The survivor of the newest run; undefined without survivors. @param known  the runs as last reported */
export function adoptionOf(
  survivors: readonly Container[],
  known: readonly Run[],
  status: TaskStatus | undefined,
): Adoption | undefined {
  const found = survivors.map((container) => ({ container, madeFor: noteOf(container.labels)?.run ?? 1 }));
  const newest = found.toSorted((a, b) => a.madeFor - b.madeFor).at(-1);
  if (newest === undefined) return undefined;
  const { container, madeFor } = newest;
  const run = madeFor + container.run - 1;
  const isFurther = container.run > 1 && known.at(-1)?.number !== run;
  const seen = seenFrom(container, isFurther ? undefined : status);
  return { container, madeFor, run, isFurther, seen, runs: runsOf(container, madeFor, known) };
}

/** What was known, with what happened while no agent was there. */
function runsOf(container: Container, madeFor: number, known: readonly Run[]): readonly Run[] {
  const runs = new Map(known.map((run) => [run.number, run]));
  const end = (number: number, exit: Exit): void => {
    const before = runs.get(number) ?? { number, startedAt: exit.startedAt };
    if (before.endedAt === undefined) runs.set(number, endOf(before, exit));
  };
  for (const { number, exit } of container.pastRuns) end(madeFor + number - 1, exit);
  const current = madeFor + container.run - 1;
  if (container.state !== 'created' && !runs.has(current)) {
    runs.set(current, { number: current, startedAt: container.runStartedAt ?? container.createdAt });
  }
  if (container.exit !== undefined) end(current, container.exit);
  return [...runs.values()].sort((a, b) => a.number - b.number);
}

/** The run, ended. */
export function endOf(run: Run, exit: Exit): Run {
  const exitCode = exitCodeOf(exit);
  return { ...run, endedAt: exit.finishedAt, ...(exitCode === undefined ? {} : { exitCode }) };
}

export interface StatusFacts {
  readonly taskId: TaskId;
  readonly nodeId: NodeId;
  readonly at: Instant;
  readonly runs: readonly Run[];
  readonly container: SeenContainer;
}

/** The whole status; `at` stays as long as the state does. `appliedAt` is the manager's to fill in. */
export function statusFrom(said: Said, before: TaskStatus | undefined, facts: StatusFacts): TaskStatus {
  const { state, message, healthy, error, exit } = said;
  const exitCode = exit === undefined ? undefined : exitCodeOf(exit);
  return {
    taskId: facts.taskId,
    nodeId: facts.nodeId,
    state,
    at: before?.state === state ? before.at : facts.at,
    appliedAt: facts.at,
    message,
    oomKilled: exit?.oomKilled ?? false,
    healthy,
    runs: facts.runs,
    ...(error === undefined ? {} : { error }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(exit?.signal === undefined || exit.signal === null ? {} : { signal: exit.signal }),
    ...(facts.container.kind === 'running' ? { pid: facts.container.pid } : {}),
  };
}

/** As a shell says it: 128 and the signal's number. */
function exitCodeOf(exit: Exit): number | undefined {
  if (exit.code !== null) return exit.code;
  return exit.signal === null ? undefined : 128 + exit.signal;
}
