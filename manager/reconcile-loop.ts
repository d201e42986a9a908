/**
 * The loop that runs all reconcilers: changes make keys dirty, a dirty key is decided on the newest view, plans are
 * committed through the reign. It must never decide anything itself, and it keeps nothing that cannot be had again from
 * the store.
 *
 * A key is decided only when the view shows everything that the loop has committed itself: a plan made on an older view
 * would make the same tasks twice. A conflict drops the unit and requeues the key; a decision that throws is tried again
 * with a growing wait and stops nobody else.
 */
import { setImmediate as pause } from 'node:timers/promises';
import type { Clock } from '../common/clock.ts';
import { ClusterError, toClusterError } from '../common/errors.ts';
import { newId } from '../common/ids.ts';
import { aborted, Queue } from '../common/iterate.ts';
import { isAbort } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import type { Revision, TaskId } from '../common/model/ids.ts';
import { backoff } from '../common/retry.ts';
import type { Plan, Reconciler, Tick } from './reconcile.ts';
import type { Batch, CommitResult, Reign, Store, Unit } from './store/store.ts';
import { WakeQueue } from './wake-queue.ts';

/** One turn decides no longer than this before it lets others run: the lease's renewal may wait 100 ms. */
const TURN_MS = 20;
/** One turn decides no more keys than this, so that what is planned is committed while the view is still fresh. */
const TURN_KEYS = 500;
/** A reconciler that asks to be woken at once, again and again, must not keep the loop busy. */
const WAKE_AFTER_MS = 10;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 30_000;

export interface LoopParts {
  readonly store: Store;
  readonly reign: Reign;
  readonly reconcilers: readonly Reconciler[];
  readonly clock: Clock;
  readonly log: Log;
  readonly newTaskId?: () => TaskId;
}

/** A reconciler's key. */
interface Work {
  readonly reconciler: Reconciler;
  readonly key: string;
}

/** What one turn planned: `units[n]` is `of[n]`'s. */
interface Planned {
  readonly units: Unit[];
  readonly of: Work[];
}

/**
 * Runs until `signal` is aborted or the reign is lost; resolves then.
 * A failing etcd does not end it: the keys are tried again.
 */
export async function reconcileLoop(parts: LoopParts, signal: AbortSignal): Promise<void> {
  await new Loop(parts, AbortSignal.any([signal, parts.reign.lost])).run();
}

class Loop {
  readonly #parts: LoopParts;
  readonly #signal: AbortSignal;
  readonly #tick: () => Tick;
  /** Dirty keys by name, oldest first; a key is in it once. */
  readonly #dirty = new Map<string, Work>();
  readonly #wakes: WakeQueue<Work>;
  /** Failures in a row. */
  readonly #failures = new Map<string, number>();
  /** One ring for all bells: something is dirty. */
  readonly #bell: Queue<true>;
  /** The newest revision of what the loop has committed. */
  #written: Revision = 0;
  /** A commit's outcome is unknown: the view must catch up before anything is decided, or it might be planned twice. */
  #isUnsure = false;

  constructor(parts: LoopParts, signal: AbortSignal) {
    const { clock, newTaskId = newId<TaskId> } = parts;
    this.#parts = parts;
    this.#signal = signal;
    this.#bell = new Queue(1, signal);
    this.#wakes = new WakeQueue(clock, (work) => this.#soil(work));
    this.#tick = () => ({ now: clock.now(), newTaskId });
  }

  async run(): Promise<void> {
    const changes = this.#parts.store.changes(this.#signal);
    this.#soilAll();
    const listening = this.#listen(changes);
    try {
      for await (const _ring of this.#bell) await this.#drain();
    } catch (cause) {
      if (!isAbort(cause, this.#signal)) throw cause;
    } finally {
      this.#wakes.clear();
    }
    // Only now: a failure of listening has ended the bell.
    await listening;
    await aborted(this.#signal);
  }

  async #listen(changes: AsyncIterable<Batch | 'resync'>): Promise<void> {
    try {
      for await (const batch of changes) {
        if (batch === 'resync') this.#soilAll();
        else this.#soilBy(batch);
      }
    } finally {
      this.#bell.end();
    }
  }

  #soilAll(): void {
    const { reconcilers, store } = this.#parts;
    for (const reconciler of reconcilers) {
      for (const key of reconciler.allKeys(store.view)) this.#soil({ reconciler, key });
    }
  }

  #soilBy(batch: Batch): void {
    const { reconcilers, store } = this.#parts;
    for (const change of batch.changes) {
      for (const reconciler of reconcilers) {
        for (const key of reconciler.keysOf(change, store.view)) this.#soil({ reconciler, key });
      }
    }
  }

  #soil(work: Work): void {
    this.#dirty.set(nameOf(work), work);
    this.#bell.push(true);
  }

  /** Turn after turn until nothing is dirty. */
  async #drain(): Promise<void> {
    const { store } = this.#parts;
    while (this.#dirty.size > 0) {
      if (this.#isUnsure) await store.caughtUp(this.#signal);
      this.#isUnsure = false;
      if (store.view.revision < this.#written) await store.reached(this.#written, this.#signal);
      // Changes that came with it may still wait to be read; they make keys dirty before we decide.
      await pause();
      this.#signal.throwIfAborted();
      await this.#commit(this.#turn());
    }
  }

  #turn(): Planned {
    const { clock } = this.#parts;
    const planned: Planned = { units: [], of: [] };
    const endAt = clock.now() + TURN_MS;
    const tick = this.#tick();
    let keys = 0;
    for (const [name, work] of this.#dirty) {
      this.#dirty.delete(name);
      this.#wakes.cancel(name);
      const plan = this.#decide(work, tick);
      for (const unit of plan?.units ?? []) {
        planned.units.push(unit);
        planned.of.push(work);
      }
      if (plan?.wakeAt !== undefined) this.#wakes.set(name, work, Math.max(plan.wakeAt, tick.now + WAKE_AFTER_MS));
      keys += 1;
      if (keys >= TURN_KEYS || clock.now() >= endAt) break;
    }
    return planned;
  }

  #decide(work: Work, tick: Tick): Plan | undefined {
    const { store, log } = this.#parts;
    try {
      const plan = work.reconciler.decide(store.view, work.key, tick);
      this.#failures.delete(nameOf(work));
      if (plan.because !== undefined)
        log.debug({ reconciler: work.reconciler.name, key: work.key, because: plan.because }, 'planned');
      return plan;
    } catch (cause) {
      this.#retryLater(work, cause);
      return undefined;
    }
  }

  async #commit({ units, of }: Planned): Promise<void> {
    if (units.length === 0) return;
    try {
      const results = await this.#parts.reign.commit(units, this.#signal);
      for (const [index, result] of results.entries()) this.#settle(of[index] as Work, result);
    } catch (cause) {
      this.#signal.throwIfAborted();
      this.#isUnsure = true;
      for (const work of new Set(of)) this.#retryLater(work, cause);
    }
  }

  #settle(work: Work, result: CommitResult): void {
    switch (result.kind) {
      case 'done':
        this.#written = Math.max(this.#written, result.revision);
        break;
      case 'conflict':
        this.#soil(work);
        break;
      case 'lost':
        // The reign's own `lost` ends the loop.
        break;
    }
  }

  #retryLater(work: Work, cause: unknown): void {
    const { clock, log } = this.#parts;
    const name = nameOf(work);
    const failures = (this.#failures.get(name) ?? 0) + 1;
    this.#failures.set(name, failures);
    const delayMs = backoff(failures, RETRY_FIRST_MS, RETRY_MAX_MS);
    const facts = { reconciler: work.reconciler.name, key: work.key, failures, delayMs, cause: toClusterError(cause) };
    if (cause instanceof ClusterError && cause.code !== 'internal') log.warn(facts, 'a plan could not be committed');
    else log.error(facts, 'a decision failed');
    this.#wakes.set(name, work, clock.now() + delayMs);
  }
}

function nameOf(work: Work): string {
  return `${work.reconciler.name}/${work.key}`;
}
