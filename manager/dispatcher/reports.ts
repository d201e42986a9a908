/**
 * Task statuses from agents into the store, batched. In: reports of all sessions. Out: task-status writes through the
 * reign, and for each report a promise that it is stored. It never lets a state go back (I1), nor a node speak of a task
 * that is not its own (I11, I12).
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { type PromiseWithResolvers, withResolvers } from '../../common/iterate.ts';
import type { Instant, NodeId } from '../../common/model/ids.ts';
import { isTerminal, rank, type TaskStatus } from '../../common/model/task.ts';
import { isSame } from '../orchestrator/dirty.ts';
import { check, put, type Reign, type Store, type Unit, type View } from '../store/store.ts';

/** At most one commit in so long a time: reports gather meanwhile. The first one after a quiet time does not wait. */
export const BATCH_MS = 5;
/** After a commit that etcd did not answer. */
const OUTAGE_MS = 200;

interface Pending {
  readonly nodeId: NodeId;
  readonly status: TaskStatus;
  /** A report in which it was running has been overtaken by a later one in the same batch. */
  readonly wasRunning: boolean;
  readonly tickets: readonly Ticket[];
}

/** One report: done when all its statuses are. */
class Ticket {
  readonly end: PromiseWithResolvers<void> = withResolvers();
  #open: number;

  constructor(count: number) {
    this.#open = count;
    if (count === 0) this.end.resolve();
  }

  settle(): void {
    this.#open -= 1;
    if (this.#open === 0) this.end.resolve();
  }
}

export class Reports {
  readonly #store: Store;
  readonly #reign: Reign;
  readonly #clock: Clock;
  #pending = new Map<string, Pending>();
  #flushing = false;
  #flushedAt: Instant = 0;

  constructor(store: Store, reign: Reign, clock: Clock) {
    this.#store = store;
    this.#reign = reign;
    this.#clock = clock;
  }

  /** Resolves when all of it is stored or known to say nothing new; rejects when the reign has ended. */
  async stored(nodeId: NodeId, statuses: readonly TaskStatus[]): Promise<void> {
    const ticket = new Ticket(statuses.length);
    for (const status of statuses) this.#add({ nodeId, status, wasRunning: false, tickets: [ticket] });
    if (!this.#flushing && this.#pending.size > 0) this.#later(this.#flushedAt + BATCH_MS - this.#clock.now());
    await ticket.end.promise;
  }

  #later(ms: number): void {
    this.#flushing = true;
    this.#clock.after(Math.min(Math.max(ms, 0), OUTAGE_MS), () => {
      this.#flush().then(
        (pauseMs) => {
          this.#flushing = false;
          if (this.#pending.size > 0) this.#later(pauseMs);
        },
        (cause: unknown) => this.#fail(cause),
      );
    });
  }

  async #flush(): Promise<number> {
    const batch = [...this.#pending.values()];
    this.#pending = new Map();
    const { view } = this.#store;
    const now = this.#clock.now();
    this.#flushedAt = now;
    const writing: { readonly pending: Pending; readonly unit: Unit }[] = [];
    for (const pending of batch) {
      const unit = unitOf(view, pending, now);
      if (unit === undefined) settle(pending);
      else writing.push({ pending, unit });
    }
    if (writing.length === 0) return BATCH_MS;
    try {
      const results = await this.#reign.commit(
        writing.map(({ unit }) => unit),
        this.#reign.lost,
      );
      let newest = 0;
      for (const [index, { pending }] of writing.entries()) {
        const result = results[index];
        if (result?.kind === 'lost') throw deposed();
        if (result?.kind === 'done') newest = Math.max(newest, result.revision);
        if (result?.kind === 'conflict') this.#add(pending);
      }
      // Only then stored, and the next batch is judged on a view that has this one: it would conflict with our own writes.
      if (newest > 0) await this.#store.reached(newest, this.#reign.lost);
      for (const [index, { pending }] of writing.entries()) if (results[index]?.kind === 'done') settle(pending);
      return BATCH_MS;
    } catch (cause) {
      for (const { pending } of writing) this.#add(pending);
      if (this.#reign.lost.aborted || !isPassing(cause)) throw cause;
      return OUTAGE_MS;
    }
  }

  #add(one: Pending): void {
    // By node too: what another node claims of the task must not push out its owner's word.
    const id = `${one.nodeId}/${one.status.taskId}`;
    const other = this.#pending.get(id);
    if (other === undefined) {
      this.#pending.set(id, one);
      return;
    }
    const later = isLater(one.status, other.status) ? one : other;
    const wasRunning = [one, other].some((each) => each.wasRunning || each.status.state === 'running');
    this.#pending.set(id, { ...later, wasRunning, tickets: [...new Set([...other.tickets, ...one.tickets])] });
    // One status now stands for two: a ticket that is in both has one thing less to wait for.
    for (const ticket of one.tickets) if (other.tickets.includes(ticket)) ticket.settle();
  }

  #fail(cause: unknown): void {
    const failed = [...this.#pending.values()];
    this.#pending = new Map();
    this.#flushing = false;
    for (const { tickets } of failed) for (const ticket of tickets) ticket.end.reject(cause);
  }
}

/**
 * The write of one reported status; undefined when it says nothing new or is not the node's to say: lower or equal
 * states, ended tasks, unknown tasks and tasks of other nodes are dropped.
 */
export function unitOf(
  view: View,
  { nodeId, status, wasRunning }: Omit<Pending, 'tickets'>,
  now: Instant,
): Unit | undefined {
  const task = view.get('task', status.taskId);
  if (task === undefined || task.value.nodeId !== nodeId) return undefined;
  const before = view.get('task-status', status.taskId);
  if (before !== undefined && isTerminal(before.value.state)) return undefined;
  if (before !== undefined && rank(status.state) < rank(before.value.state)) return undefined;
  const ran = before?.value.runningAt ?? (wasRunning || status.state === 'running' ? now : undefined);
  const { runningAt: _theirs, ...said } = status;
  const value: TaskStatus = { ...said, nodeId, appliedAt: now, ...(ran === undefined ? {} : { runningAt: ran }) };
  if (before !== undefined && isSame({ ...value, appliedAt: 0 }, { ...before.value, appliedAt: 0 })) return undefined;
  const write = put('task-status', status.taskId, value, before?.rev ?? 0);
  // A first status must not outlive a task that is being deleted; a later one finds its key gone.
  return before === undefined ? [check('task', status.taskId, task.rev), write] : [write];
}

function isLater(a: TaskStatus, b: TaskStatus): boolean {
  return rank(a.state) >= rank(b.state);
}

function isPassing(cause: unknown): boolean {
  const { code } = toClusterError(cause);
  return code === 'unavailable' || code === 'exhausted';
}

function settle({ tickets }: Pending): void {
  for (const ticket of tickets) ticket.settle();
}

function deposed(): ClusterError {
  return new ClusterError('unavailable', 'this manager has just lost the lead');
}
