/** Keeps the last events and hands new ones to whoever watches, each with a bounded queue. */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { Queue } from '../../common/iterate.ts';
import type { Instant } from '../../common/model/ids.ts';
import type { Store } from '../store/store.ts';
import { type ClusterEvent, EVENT_TYPES, eventsOf } from './events.ts';

/** Kept for those who ask what has just happened. Source: Docker keeps as many. */
export const KEPT_MAX = 256;
/** Events that may wait for one watcher: a service of a thousand tasks makes some five thousand when it starts. */
const WAITING_MAX = 10_000;

export class EventFeed {
  readonly #store: Store;
  readonly #clock: Clock;
  #kept: ClusterEvent[] = [];
  readonly #watchers = new Set<Queue<ClusterEvent>>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Follows the store until `signal` is aborted. What a resync skips makes no events. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const batch of this.#store.changes(signal)) {
      if (batch === 'resync') continue;
      const at = this.#clock.now();
      for (const change of batch.changes) for (const event of eventsOf(change, this.#store.view, at)) this.#tell(event);
    }
  }

  /**
   * Events of these types (empty: all) until `signal`, first those kept since `sinceMs` (0: none).
   * @throws ClusterError `invalid` for a type that no event has, `exhausted` when the reader falls too far behind
   */
  async *watch(
    wish: { readonly types: readonly string[]; readonly sinceMs: Instant },
    signal: AbortSignal,
  ): AsyncIterable<ClusterEvent> {
    const unknown = wish.types.find((type) => !EVENT_TYPES.some((known) => known === type));
    if (unknown !== undefined) {
      throw new ClusterError('invalid', `there are no events of type "${unknown}"`, {
        field: 'types',
        hint: `use ${EVENT_TYPES.join(', ')}`,
      });
    }
    const queue = new Queue<ClusterEvent>(WAITING_MAX, signal);
    if (wish.sinceMs > 0) for (const event of this.#kept) if (event.at >= wish.sinceMs) queue.push(event);
    this.#watchers.add(queue);
    try {
      for await (const event of queue) if (wish.types.length === 0 || wish.types.includes(event.type)) yield event;
    } finally {
      this.#watchers.delete(queue);
    }
  }

  #tell(event: ClusterEvent): void {
    this.#kept.push(event);
    if (this.#kept.length > KEPT_MAX) this.#kept = this.#kept.slice(-KEPT_MAX);
    for (const watcher of this.#watchers) {
      if (watcher.push(event) || watcher.ended) continue;
      watcher.fail(
        new ClusterError('exhausted', 'events come faster than they are read', { hint: 'watch fewer types' }),
      );
    }
  }
}
