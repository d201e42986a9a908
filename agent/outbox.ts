/**
 * What an agent has to say in one session: reports, at most one in flight, and messages in their order.
 * While a report is on its way, newer statuses of the same task replace older ones: a slow manager hears only the newest.
 */
import type { Clock } from '../common/clock.ts';
import { ClusterError } from '../common/errors.ts';
import { Queue } from '../common/iterate.ts';
import type { TaskId } from '../common/model/ids.ts';
import { isTerminal, type TaskStatus } from '../common/model/task.ts';
import { toTaskStatus } from '../common/wire/task.ts';
import type { covey } from '../proto/messages.ts';

type AgentMessage = covey.v1.AgentMessage.$Properties;

/** Statuses of so long a time go out together; a task passes several states in one such moment. Its end does not wait. */
const BATCH_MS = 2;
/** Statuses in one report: some 300 KB. */
const REPORT_MAX = 1_000;
/** Messages that may wait for the connection. More: the manager does not read, and the session is ended. */
const MESSAGES_MAX = 4_096;

export class Outbox {
  readonly #queue: Queue<AgentMessage>;
  readonly #clock: Clock;
  #pending = new Map<TaskId, TaskStatus>();
  #sequence = 0;
  #acked = 0;
  #isDue = false;
  #isOpen = false;

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#queue = new Queue(MESSAGES_MAX, signal);
  }

  /** For the session's stream; ends with `end` or the signal. */
  get messages(): AsyncIterable<AgentMessage> {
    return this.#queue;
  }

  /** @throws ClusterError `unavailable` when the manager does not read */
  send(message: AgentMessage): void {
    if (this.#queue.push(message) || this.#queue.ended) return;
    throw new ClusterError('unavailable', `the manager reads too slowly: ${MESSAGES_MAX} messages wait for it`);
  }

  /** True between `open` and `end`. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The manager has welcomed us: from now on statuses are sent, these first. */
  open(statuses: readonly TaskStatus[]): void {
    this.#isOpen = true;
    for (const status of statuses) this.#pending.set(status.taskId, status);
    this.#soon();
  }

  /** A task has a newer status. Before `open` it is not kept: `open` brings all. */
  report(status: TaskStatus): void {
    if (!this.#isOpen) return;
    this.#pending.set(status.taskId, status);
    if (isTerminal(status.state)) this.#flush();
    else this.#soon();
  }

  /** The manager has stored report `sequence`. */
  acked(sequence: number): void {
    this.#acked = Math.max(this.#acked, sequence);
    this.#flush();
  }

  end(): void {
    this.#isOpen = false;
    this.#queue.end();
  }

  #soon(): void {
    if (this.#isDue || this.#sequence > this.#acked) return;
    this.#isDue = true;
    this.#clock.after(BATCH_MS, () => {
      this.#isDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#isOpen || this.#pending.size === 0 || this.#sequence > this.#acked) return;
    const batch = [...this.#pending.values()].slice(0, REPORT_MAX);
    for (const status of batch) this.#pending.delete(status.taskId);
    this.#sequence += 1;
    // Only one report is ever under way, so the queue has room for it or is being given up.
    this.#queue.push({ report: { sequence: this.#sequence, statuses: batch.map(toTaskStatus) } });
  }
}
