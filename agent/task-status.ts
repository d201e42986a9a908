/** What is seen and said of a task, from what its container does. Pure. */
import type { Instant, NodeId, TaskId } from '../common/model/ids.ts';
import type { Run, TaskStatus } from '../common/model/task.ts';
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
