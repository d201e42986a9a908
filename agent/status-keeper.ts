/** What one task has said of itself: kept on disk, told to whoever listens, and never said twice. */
import type { NodeId } from '../common/model/ids.ts';
import { isTerminal, type Run, type TaskStatus } from '../common/model/task.ts';
import type { Assignment } from './assignment.ts';
import type { RunnerTools } from './runner-tools.ts';
import type { Said, SeenContainer } from './task-machine.ts';
import { statusFrom } from './task-status.ts';

export interface StatusTools extends Pick<RunnerTools, 'clock' | 'log' | 'keep' | 'onStatus'> {
  readonly nodeId: NodeId;
}

/** What a status is made of beside what is said. */
interface Facts {
  readonly held: Assignment;
  readonly runs: readonly Run[];
  readonly container: SeenContainer;
}

export class StatusKeeper {
  readonly #tools: StatusTools;
  #last: TaskStatus | undefined;

  /** @param last  what an earlier agent said */
  constructor(tools: StatusTools, last: TaskStatus | undefined) {
    this.#tools = tools;
    this.#last = last;
  }

  /** What was last said; undefined before `accepted`. */
  get last(): TaskStatus | undefined {
    return this.#last;
  }

  async say(said: Said, { held, runs, container }: Facts): Promise<void> {
    const { nodeId, clock, keep, log } = this.#tools;
    const taskId = held.task.id;
    const status = statusFrom(said, this.#last, { taskId, nodeId, at: clock.now(), runs, container });
    const kept = keep({ held, status });
    // Nothing is started that a crash could make us start again; for the rest the container itself is the witness.
    if (status.state === 'starting' && this.#last?.state !== 'starting') await kept;
    else kept.catch((cause: unknown) => log.warn({ taskId, cause }, 'a status was not kept'));
    this.#last = status;
    this.announce();
  }

  /** Says what is going on without moving on. */
  mention(message: string): void {
    const status = this.#last;
    if (status === undefined || status.message === message || isTerminal(status.state)) return;
    this.#last = { ...status, message };
    this.announce();
  }

  /** Tells it again: something that it does not hold has changed. */
  announce(): void {
    if (this.#last !== undefined) this.#tools.onStatus(this.#last);
  }
}
