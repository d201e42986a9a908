/**
 * Which nodes have which blobs, or take them, as far as this manager has heard: from their sessions while it leads, from
 * their calls. In memory only: after a change of the lead, sessions and calls begin anew and tell it again. Out: for each
 * node in a swarm the others of it, as that changes.
 */
import type { Clock } from '../../common/clock.ts';
import { Queue } from '../../common/iterate.ts';
import type { Digest, Instant, NodeId } from '../../common/model/ids.ts';
import type { covey } from '../../proto/messages.ts';
import { Origin } from './origin.ts';

export type SwarmNews = covey.v1.SwarmNews.$Properties;

/** News gather so long: nodes that begin together choose among all of them, not among the first. */
const NEWS_MS = 100;
/** And no oftener than this: each change is news for every node of the swarm, and what a neighbour has it says itself. */
export const NEWS_EVERY_MS = 500;
/** Members that a node is told of; of more, each node hears of others, by chance. */
export const MEMBERS_MAX = 64;
/** So many that take a blob are served by one that has it. */
export const TAKERS_EACH = 4;
/** Blobs of one node that are remembered. A node has some ten for each image. */
const HELD_MAX = 20_000;

interface Taker {
  readonly told: Map<NodeId, boolean>;
  readonly wake: Queue<'wake'>;
}

interface Swarm {
  readonly takers: Map<NodeId, Taker>;
  readonly origin: Origin;
  cancel: (() => void) | undefined;
  toldAt: Instant;
}

export interface SwarmsTools {
  /** HOST:PORT where a node that answers gives pieces; undefined for one that does not. */
  readonly addressOf: (nodeId: NodeId) => string | undefined;
  readonly clock: Clock;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

export class Swarms {
  readonly #tools: SwarmsTools;
  readonly #held = new Map<NodeId, Set<Digest>>();
  readonly #holders = new Map<Digest, Set<NodeId>>();
  readonly #swarms = new Map<Digest, Swarm>();

  constructor(tools: SwarmsTools) {
    this.#tools = tools;
  }

  /** What a node says that it gives to others. */
  heard(nodeId: NodeId, { complete, have, gone }: covey.v1.IBlobNews): void {
    if (complete === true) this.left(nodeId);
    const held = this.#held.get(nodeId) ?? new Set<Digest>();
    this.#held.set(nodeId, held);
    for (const digest of (gone ?? []) as Digest[]) if (held.delete(digest)) this.#lose(nodeId, digest);
    for (const digest of (have ?? []) as Digest[]) {
      if (held.has(digest) || held.size >= HELD_MAX) continue;
      held.add(digest);
      const holders = this.#holders.get(digest) ?? new Set<NodeId>();
      this.#holders.set(digest, holders.add(nodeId));
      this.#stir(digest);
    }
  }

  /** Its session has ended. */
  left(nodeId: NodeId): void {
    const held = this.#held.get(nodeId);
    this.#held.delete(nodeId);
    for (const digest of held ?? []) this.#lose(nodeId, digest);
  }

  /**
   * True while nodes that answer, other than that one, have all of the blob, and enough of them for those that take it: one
   * alone would be a slower manager.
   */
  isSpread(digest: Digest, except: NodeId): boolean {
    let holders = 0;
    for (const nodeId of this.#holders.get(digest) ?? [])
      if (nodeId !== except && this.#tools.addressOf(nodeId) !== undefined) holders += 1;
    return holders > 0 && holders * TAKERS_EACH >= (this.#swarms.get(digest)?.takers.size ?? 0);
  }

  /**
   * Takes the node into the swarm until `signal` is aborted or the reader leaves; a second time in place of the first.
   * The first news come at once, then what changes.
   */
  async *join(digest: Digest, nodeId: NodeId, pieces: number, signal: AbortSignal): AsyncGenerator<SwarmNews> {
    const swarm = this.#swarms.get(digest) ?? this.#begin(digest, pieces);
    swarm.takers.get(nodeId)?.wake.end();
    const taker: Taker = { told: new Map(), wake: new Queue(1, signal) };
    swarm.takers.set(nodeId, taker);
    this.#stir(digest);
    try {
      yield this.#news(digest, nodeId, taker) ?? {};
      for await (const _ of taker.wake) {
        const news = this.#news(digest, nodeId, taker);
        if (news !== undefined) yield news;
      }
    } finally {
      if (swarm.takers.get(nodeId) === taker) {
        swarm.takers.delete(nodeId);
        swarm.origin.left(nodeId);
        this.#stir(digest);
        if (swarm.takers.size === 0) this.#end(digest, swarm);
      }
    }
  }

  /** What has been given of the blob; undefined when the node takes no part. */
  originFor(digest: Digest, nodeId: NodeId): Origin | undefined {
    const swarm = this.#swarms.get(digest);
    return swarm?.takers.has(nodeId) === true ? swarm.origin : undefined;
  }

  #begin(digest: Digest, pieces: number): Swarm {
    const swarm: Swarm = {
      takers: new Map(),
      origin: new Origin(pieces),
      cancel: undefined,
      toldAt: Number.NEGATIVE_INFINITY,
    };
    this.#swarms.set(digest, swarm);
    return swarm;
  }

  #end(digest: Digest, swarm: Swarm): void {
    swarm.cancel?.();
    if (this.#swarms.get(digest) === swarm) this.#swarms.delete(digest);
  }

  #lose(nodeId: NodeId, digest: Digest): void {
    const holders = this.#holders.get(digest);
    holders?.delete(nodeId);
    if (holders?.size === 0) this.#holders.delete(digest);
    this.#stir(digest);
  }

  /** Tells the swarm soon; what comes until then is told with it. */
  #stir(digest: Digest): void {
    const swarm = this.#swarms.get(digest);
    if (swarm === undefined) return;
    const { clock } = this.#tools;
    const at = Math.max(clock.now() + NEWS_MS, swarm.toldAt + NEWS_EVERY_MS);
    swarm.cancel ??= clock.after(at - clock.now(), () => {
      swarm.cancel = undefined;
      swarm.toldAt = clock.now();
      for (const { wake } of swarm.takers.values()) wake.push('wake');
    });
  }

  /** What the node has not been told; undefined when nothing. */
  #news(digest: Digest, nodeId: NodeId, { told }: Taker): SwarmNews | undefined {
    const now = this.#membersFor(digest, nodeId);
    const gone = [...told.keys()].filter((id) => !now.has(id));
    for (const id of gone) told.delete(id);
    const fresh = [...now].filter(([id, { whole }]) => told.get(id) !== whole);
    const room = fresh.filter(([id]) => told.has(id));
    const strangers = fresh.filter(([id]) => !told.has(id));
    const peers = [...room, ...this.#sample(strangers, MEMBERS_MAX - told.size)].map(([id, peer]) => {
      told.set(id, peer.whole);
      return { nodeId: id, ...peer };
    });
    return peers.length === 0 && gone.length === 0 ? undefined : { peers, gone };
  }

  #membersFor(digest: Digest, self: NodeId): Map<NodeId, { readonly address: string; readonly whole: boolean }> {
    const members = new Map<NodeId, { readonly address: string; readonly whole: boolean }>();
    const add = (nodeId: NodeId, whole: boolean): void => {
      const address = nodeId === self ? undefined : this.#tools.addressOf(nodeId);
      if (address !== undefined) members.set(nodeId, { address, whole });
    };
    for (const nodeId of this.#swarms.get(digest)?.takers.keys() ?? []) add(nodeId, false);
    for (const nodeId of this.#holders.get(digest) ?? []) add(nodeId, true);
    return members;
  }

  #sample<T>(list: readonly T[], count: number): readonly T[] {
    if (list.length <= count) return list;
    return list
      .map((value) => ({ value, rank: this.#tools.random() }))
      .toSorted((a, b) => a.rank - b.rank)
      .slice(0, Math.max(0, count))
      .map(({ value }) => value);
  }
}
