/**
 * The store's contract in memory, with etcd's revisions: one per transaction, `mod_revision` per key, units packed as the
 * real store packs them. Several managers share one `MemoryEtcd`, each with a `MemoryStore` of its own whose view can be
 * held back. Everything is also there without promises, for the simulator.
 */
import { strict as assert } from 'node:assert';
import { ClusterError } from '../../common/errors.ts';
import { aborted, withResolvers } from '../../common/iterate.ts';
import type { Leader, Manager } from '../../common/model/cluster.ts';
import type { Revision } from '../../common/model/ids.ts';
import type { Epoch } from '../../common/model/node.ts';
import { Cache, type Entry } from '../../manager/store/cache.ts';
import { Feed } from '../../manager/store/feed.ts';
import { keyOf, pack } from '../../manager/store/packing.ts';
import type {
  Batch,
  Candidate,
  CommitResult,
  Kind,
  Kinds,
  Reign,
  Store,
  Unit,
  View,
  Write,
} from '../../manager/store/store.ts';
import { deepFreeze } from './freeze.ts';

/** What an observer is told of each transaction: what it changed, and under which reign (absent: unfenced). */
export interface Committed {
  readonly batch: Batch;
  readonly epoch: Epoch | undefined;
}

type Observer = (committed: Committed) => void;
type Sink = (revision: Revision, entries: readonly Entry[]) => void;

/** The truth that all stores of a test share. */
export class MemoryEtcd {
  readonly #truth = new Cache();
  readonly #entries = new Map<string, Entry>();
  readonly #observers = new Set<Observer>();
  readonly #sinks = new Set<Sink>();
  readonly #outgoing: (() => void)[] = [];
  readonly #waiting: (() => void)[] = [];
  #reign: MemoryReign | undefined;

  /** The newest revision, whatever any store's view shows. */
  get truth(): View {
    return this.#truth;
  }

  /** The reign that is in force, if any. */
  get reigning(): MemoryReign | undefined {
    return this.#reign;
  }

  /** Called after each transaction that changed something, before any store's view moves. Returns what ends it. */
  onCommit(observer: Observer): () => void {
    this.#observers.add(observer);
    return () => {
      this.#observers.delete(observer);
    };
  }

  /** Another manager's store. */
  connect(): MemoryStore {
    return new MemoryStore(this);
  }

  /** For `MemoryStore`: fills its view and tells it every transaction from then on. */
  follow(sink: Sink): void {
    sink(this.#truth.revision, [...this.#entries.values()]);
    this.#sinks.add(sink);
  }

  /** Commits units as one or more transactions; with `fence` all of them are `lost` unless that reign is in force. */
  commit(units: readonly Unit[], fence?: MemoryReign): readonly CommitResult[] {
    const results: CommitResult[] = units.map(() => ({ kind: 'conflict' }));
    for (const stage of pack(units, () => 1_000)) {
      for (const packed of stage) {
        for (const [at, result] of this.#transact(units, packed, fence).entries()) {
          results[packed[at] as number] = result;
        }
      }
    }
    return results;
  }

  /** Takes the lead at once, from whoever has it. */
  enthrone(candidate: Candidate, since: number): MemoryReign {
    this.depose();
    const leader: Leader = { managerId: candidate.managerId, address: candidate.address, since };
    this.commit([[{ op: 'put', kind: 'leader', id: 'default', value: leader, ifRev: 0 }]]);
    const incarnation = this.#truth.get('cluster', 'default')?.value.incarnation ?? 0;
    this.#reign = new MemoryReign(this, { incarnation, reign: this.#truth.revision });
    return this.#reign;
  }

  /** Ends the reign in force and tells it so, as when its lease is seen to be gone. */
  depose(): void {
    this.usurp()?.tell();
  }

  /** Ends the reign in force without telling it: its next commits come back `lost`. Returns it, to tell it later. */
  usurp(): MemoryReign | undefined {
    const reign = this.#reign;
    if (reign === undefined) return undefined;
    this.#reign = undefined;
    this.commit([[{ op: 'delete', kind: 'leader', id: 'default' }]]);
    this.#waiting.shift()?.();
    return reign;
  }

  /** Resolves when there is no leader; first come, first served. */
  async vacancy(signal: AbortSignal): Promise<void> {
    while (this.#reign !== undefined) {
      const turn = withResolvers<void>();
      const onAbort = (): void => turn.reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(() => turn.resolve());
      try {
        await turn.promise;
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    }
  }

  #transact(units: readonly Unit[], packed: readonly number[], fence: MemoryReign | undefined): CommitResult[] {
    if (fence !== undefined && fence !== this.#reign) return packed.map(() => ({ kind: 'lost' }));
    const holds = packed.map((index) => (units[index] ?? []).every((write) => this.#holds(write)));
    const next = this.#truth.revision + 1;
    const entries: Entry[] = [];
    for (const [at, index] of packed.entries()) {
      if (holds[at]) for (const write of units[index] ?? []) entries.push(...this.#entry(write, next));
    }
    const revision = entries.length === 0 ? this.#truth.revision : next;
    if (entries.length > 0) this.#publish(this.#truth.apply(revision, entries), fence?.epoch, entries);
    return holds.map((held) => (held ? { kind: 'done', revision } : { kind: 'conflict' }));
  }

  #publish(batch: Batch, epoch: Epoch | undefined, entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.stored === undefined) this.#entries.delete(keyOf(entry));
      else this.#entries.set(keyOf(entry), entry);
    }
    this.#outgoing.push(() => {
      for (const observer of [...this.#observers]) observer({ batch, epoch });
      for (const sink of this.#sinks) sink(batch.revision, entries);
    });
    // Whoever is told may commit again: every store must still see the transactions in their order.
    if (this.#outgoing.length > 1) return;
    for (let next = this.#outgoing[0]; next !== undefined; next = this.#outgoing[0]) {
      try {
        next();
      } finally {
        this.#outgoing.shift();
      }
    }
  }

  #holds(write: Write): boolean {
    if (write.ifRev === undefined) return true;
    return (this.#truth.get(write.kind, write.id)?.rev ?? 0) === write.ifRev;
  }

  #entry(write: Write, rev: Revision): Entry[] {
    switch (write.op) {
      case 'put':
        return [{ kind: write.kind, id: write.id, stored: { value: deepFreeze(write.value), rev } } as Entry];
      case 'delete':
        if (this.#truth.get(write.kind, write.id) === undefined) return [];
        return [{ kind: write.kind, id: write.id, stored: undefined } as Entry];
      case 'check':
        return [];
    }
  }
}

/** One manager's store: its own view of a `MemoryEtcd`, by default its own one. */
export class MemoryStore implements Store {
  readonly etcd: MemoryEtcd;
  readonly #cache = new Cache();
  readonly #feed = new Feed();
  readonly #onBatch = new Set<(batch: Batch) => void>();
  #held: (() => void)[] | undefined;

  constructor(etcd: MemoryEtcd = new MemoryEtcd()) {
    this.etcd = etcd;
    etcd.follow((revision, entries) => {
      const deliver = (): void => this.#deliver(revision, entries);
      if (this.#held === undefined) deliver();
      else this.#held.push(deliver);
    });
  }

  get view(): View {
    return this.#cache;
  }

  /** Writes fixtures, or as a user would: unfenced, at once. */
  commitNow(units: readonly Unit[]): readonly CommitResult[] {
    return this.etcd.commit(units);
  }

  /** A fixture: this value, whatever was there. */
  put<K extends Kind>(kind: K, id: string, value: Kinds[K]): Revision {
    const [result] = this.etcd.commit([[{ op: 'put', kind, id, value } as unknown as Write]]);
    assert(result?.kind === 'done');
    return result.revision;
  }

  /** From now on the view stays where it is. */
  hold(): void {
    this.#held ??= [];
  }

  /** The view catches up, one transaction after the other. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const deliver of held) deliver();
  }

  /** Called synchronously whenever this store's view has moved. Returns what ends it. */
  onBatch(listener: (batch: Batch) => void): () => void {
    this.#onBatch.add(listener);
    return () => {
      this.#onBatch.delete(listener);
    };
  }

  /** As after a compaction: all readers have to look at everything. */
  resync(): void {
    this.#feed.resync(this.#cache.revision);
  }

  async commit(units: readonly Unit[], signal: AbortSignal): Promise<readonly CommitResult[]> {
    signal.throwIfAborted();
    return this.etcd.commit(units);
  }

  changes(signal: AbortSignal): AsyncIterable<Batch | 'resync'> {
    return this.#feed.subscribe(signal);
  }

  reached(revision: Revision, signal: AbortSignal): Promise<void> {
    return this.#feed.reached(revision, signal);
  }

  caughtUp(signal: AbortSignal): Promise<void> {
    return this.#feed.reached(this.etcd.truth.revision, signal);
  }

  async reign(candidate: Candidate, signal: AbortSignal): Promise<MemoryReign> {
    await this.etcd.vacancy(signal);
    signal.throwIfAborted();
    const reign = this.etcd.enthrone(candidate, 0);
    await this.reached(reign.epoch.reign, signal);
    return reign;
  }

  async announce(manager: Manager, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.put('manager', manager.id, manager);
    await aborted(signal);
    this.commitNow([[{ op: 'delete', kind: 'manager', id: manager.id }]]);
  }

  #deliver(revision: Revision, entries: readonly Entry[]): void {
    const batch = this.#cache.apply(revision, entries);
    this.#feed.publish(batch);
    for (const listener of [...this.#onBatch]) listener(batch);
  }
}

/** A reign over a `MemoryEtcd`. */
export class MemoryReign implements Reign {
  readonly epoch: Epoch;
  readonly #etcd: MemoryEtcd;
  readonly #lost = new AbortController();

  constructor(etcd: MemoryEtcd, epoch: Epoch) {
    this.#etcd = etcd;
    this.epoch = epoch;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Fenced, at once. */
  commitNow(units: readonly Unit[]): readonly CommitResult[] {
    return this.#etcd.commit(units, this);
  }

  async commit(units: readonly Unit[], signal: AbortSignal): Promise<readonly CommitResult[]> {
    signal.throwIfAborted();
    return this.commitNow(units);
  }

  async resign(): Promise<void> {
    if (this.#etcd.reigning === this) this.#etcd.depose();
  }

  /** The reign learns that it has ended. */
  tell(): void {
    this.#lost.abort(new ClusterError('unavailable', 'the lead was lost'));
  }
}
