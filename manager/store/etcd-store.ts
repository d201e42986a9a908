/**
 * The store on a real etcd: puts the reading side (follower, cache, feed) and the writing side (committer, election) together.
 * It never decides anything and keeps nothing that etcd does not have.
 */
import type { Clock } from '../../common/clock.ts';
import { Scope } from '../../common/lifecycle.ts';
import type { Log } from '../../common/log.ts';
import type { Manager } from '../../common/model/cluster.ts';
import type { Revision } from '../../common/model/ids.ts';
import { retry } from '../../common/retry.ts';
import { Cache } from './cache.ts';
import { Committer } from './committer.ts';
import { announce, campaign, type ElectionParts } from './election.ts';
import type { Etcd } from './etcd.ts';
import { Feed } from './feed.ts';
import { Follower } from './follower.ts';
import { Keys } from './keys.ts';
import type { Batch, Candidate, CommitResult, Reign, Store, Unit, View } from './store.ts';

export interface EtcdStoreOptions {
  readonly etcd: Etcd;
  /** First part of all keys: several clusters may share an etcd. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class EtcdStore implements Store {
  readonly #scope: Scope;
  readonly #cache: Cache;
  readonly #feed: Feed;
  readonly #committer: Committer;
  readonly #election: ElectionParts;

  private constructor(options: EtcdStoreOptions, parts: { cache: Cache; feed: Feed; keys: Keys; scope: Scope }) {
    const { etcd, clock, log } = options;
    this.#scope = parts.scope;
    this.#cache = parts.cache;
    this.#feed = parts.feed;
    this.#committer = new Committer(etcd, parts.keys, parts.scope.signal);
    this.#election = {
      etcd,
      keys: parts.keys,
      view: this.#cache,
      feed: this.#feed,
      committer: this.#committer,
      clock,
      log,
    };
  }

  /**
   * Resolves when the view is complete. The `Etcd` stays the caller's.
   * @throws ClusterError `unavailable` when etcd does not answer, `internal` for a stored value that cannot be read
   */
  static async open(options: EtcdStoreOptions, signal: AbortSignal): Promise<EtcdStore> {
    const scope = new Scope('store');
    const keys = new Keys(options.prefix);
    const cache = new Cache();
    const feed = new Feed();
    const follower = new Follower({ ...options, keys, cache, feed });
    await follower.load(signal);
    scope.run('watch', (stop) => follower.run(stop));
    return new EtcdStore(options, { cache, feed, keys, scope });
  }

  get view(): View {
    return this.#cache;
  }

  /** Aborted when the store has ended by itself, with the reason: a stored value that cannot be read. */
  get ended(): AbortSignal {
    return this.#scope.signal;
  }

  commit(units: readonly Unit[], signal: AbortSignal): Promise<readonly CommitResult[]> {
    return this.#committer.commit(units, undefined, signal);
  }

  changes(signal: AbortSignal): AsyncIterable<Batch | 'resync'> {
    return this.#feed.subscribe(AbortSignal.any([signal, this.#scope.signal]));
  }

  async reached(revision: Revision, signal: AbortSignal): Promise<void> {
    if (this.#cache.revision >= revision) return;
    await this.#feed.reached(revision, AbortSignal.any([signal, this.#scope.signal]));
  }

  async caughtUp(signal: AbortSignal): Promise<void> {
    const { etcd, keys, clock, log } = this.#election;
    const stop = AbortSignal.any([signal, this.#scope.signal]);
    // Reading etcd's revision would not do: the newest may be another cluster's, which this view never shows.
    const { revision } = await retry(() => etcd.txn({ units: [], mark: keys.mark }, stop), {
      clock,
      signal: stop,
      firstMs: 50,
      maxMs: 1_000,
      jitter: 0.2,
      onFailure: (cause, delayMs) => log.warn({ cause, delayMs }, 'waiting for etcd'),
    });
    await this.#feed.reached(revision, stop);
  }

  reign(candidate: Candidate, signal: AbortSignal): Promise<Reign> {
    return campaign(this.#election, candidate, AbortSignal.any([signal, this.#scope.signal]));
  }

  announce(manager: Manager, signal: AbortSignal): Promise<void> {
    return announce(this.#election, manager, AbortSignal.any([signal, this.#scope.signal]));
  }

  /** Ends the watch, all readers, campaigns and announcements. A reign must be resigned first, by whoever has it. */
  async close(): Promise<void> {
    await this.#scope.close();
  }
}
