/**
 * Keeps the cache equal to etcd: one complete reading at a revision, then one watch from the next revision on for all
 * kinds. Whole revisions only. When the watch breaks it goes on from what was last applied; when that is no longer to be
 * had (compacted, or another history after a restore) everything is read again and readers get `resync`.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Log } from '../../common/log.ts';
import type { Revision } from '../../common/model/ids.ts';
import { retry } from '../../common/retry.ts';
import type { Cache, Entry } from './cache.ts';
import { decode } from './codec.ts';
import type { Etcd, EtcdObject } from './etcd.ts';
import type { EtcdEvent, EtcdPart } from './etcd-answers.ts';
import type { Feed } from './feed.ts';
import type { Keys } from './keys.ts';

/** Objects of one page: some 25 ms of decoding, during which nothing else runs. */
const PAGE_OBJECTS = 2_000;
/** Back-off of a watch that breaks: at once at first, because a restarted etcd is back within a second. */
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 1_000;

export interface FollowerParts {
  readonly etcd: Etcd;
  readonly keys: Keys;
  readonly cache: Cache;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly log: Log;
}

export class Follower {
  readonly #parts: FollowerParts;
  #clusterId = '';

  constructor(parts: FollowerParts) {
    this.#parts = parts;
  }

  /** Fills the cache. @throws ClusterError `unavailable`, `internal` for a value that cannot be read */
  async load(signal: AbortSignal): Promise<void> {
    const { cache, feed } = this.#parts;
    const reading = await this.#read(signal);
    cache.replace(reading.revision, reading.entries);
    feed.resync(reading.revision);
  }

  /** Follows until `signal` is aborted. @throws ClusterError `internal` for a value that cannot be read */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    for (;;) {
      await retry(() => this.#episode(signal), {
        clock,
        signal,
        firstMs: RETRY_FIRST_MS,
        maxMs: RETRY_MAX_MS,
        jitter: 0.2,
        isWorthwhile: (cause) => !isOurBug(cause),
        onFailure: (cause, delayMs) => log.warn({ cause, delayMs }, 'etcd cannot be watched'),
      });
      await clock.sleep(RETRY_FIRST_MS, signal);
    }
  }

  /** One watch, from its opening until it breaks. Rejects when it could not even be opened. */
  async #episode(signal: AbortSignal): Promise<void> {
    const { etcd, keys, cache, log } = this.#parts;
    let isOpen = false;
    try {
      for await (const part of etcd.watch(keys.root, cache.revision + 1, signal)) {
        if (part.kind === 'events') this.#apply(part.events);
        else if (this.#isStale(part)) return await this.#startAnew(signal);
        isOpen = true;
      }
    } catch (cause) {
      signal.throwIfAborted();
      if (!isOpen || isOurBug(cause)) throw cause;
      log.warn({ cause, revision: cache.revision }, 'the watch on etcd broke');
    }
    signal.throwIfAborted();
  }

  /** True when what follows the view's revision is not to be had. */
  #isStale(part: Exclude<EtcdPart, { readonly kind: 'events' }>): boolean {
    switch (part.kind) {
      case 'opened':
        // A restored etcd counts from lower down and would wait silently for a revision of another history.
        return part.revision < this.#parts.cache.revision || part.clusterId !== this.#clusterId;
      case 'compacted':
        return true;
    }
  }

  async #startAnew(signal: AbortSignal): Promise<void> {
    this.#parts.log.info({ revision: this.#parts.cache.revision }, 'reading everything anew from etcd');
    await this.load(signal);
  }

  #apply(events: readonly EtcdEvent[]): void {
    const { cache, feed } = this.#parts;
    // Never twice: a resumed watch may repeat what was already applied.
    const fresh = events.filter((event) => event.rev > cache.revision);
    const last = fresh.at(-1);
    if (last === undefined) return;
    feed.publish(cache.apply(last.rev, this.#entries(fresh)));
  }

  #entries(events: readonly EtcdEvent[]): Entry[] {
    return events.flatMap(({ key, value, rev }): Entry[] => {
      const name = this.#parts.keys.parse(key);
      if (name === undefined) return [];
      const stored = value === undefined ? undefined : { value: decode(name.kind, name.id, value), rev };
      return [{ ...name, stored } as Entry];
    });
  }

  async #read(signal: AbortSignal): Promise<{ readonly revision: Revision; readonly entries: readonly Entry[] }> {
    for (;;) {
      try {
        return await this.#readPages(signal);
      } catch (cause) {
        // Compacted between two pages: begin again at the newest revision.
        if (!(cause instanceof ClusterError) || cause.code !== 'conflict') throw cause;
        signal.throwIfAborted();
      }
    }
  }

  async #readPages(signal: AbortSignal): Promise<{ readonly revision: Revision; readonly entries: readonly Entry[] }> {
    const { etcd, keys } = this.#parts;
    const { root } = keys;
    const first = await etcd.page({ from: root, root, limit: PAGE_OBJECTS }, signal);
    const { revision } = first;
    this.#clusterId = first.clusterId;
    const entries = this.#entries(first.objects);
    for (let page = first; page.more; ) {
      const last = page.objects.at(-1) as EtcdObject;
      page = await etcd.page({ from: `${last.key}\0`, root, limit: PAGE_OBJECTS, revision }, signal);
      for (const entry of this.#entries(page.objects)) entries.push(entry);
    }
    return { revision, entries };
  }
}

/** A value that cannot be read will not be readable the next time. */
function isOurBug(cause: unknown): boolean {
  return !(cause instanceof ClusterError) || cause.code === 'internal';
}
