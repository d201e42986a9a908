/** One blob's pieces from one other node: a call that says what is there and brings what is asked for. */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { Queue } from '../../common/iterate.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import { type Cut, countOf, cutOf, type PieceList, PieceSet } from '../../common/oci/cut.ts';
import type { covey } from '../../proto/messages.ts';
import type { Mesh } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';
import type { Neighbour } from './choice.ts';

type Ask = covey.v1.ExchangeAsk.$Properties;
/** The part of a node that gives pieces; `peerChannel(…).service(Mesh)` is one. */
export type PieceServer = Client<typeof Mesh>;

/** A node that has not said by then what it has is given up. */
export const HELLO_MS = 3_000;
/** So long may one piece take: a slow line and a queue, but not for ever. */
export const PIECE_MS = 15_000;
/** A neighbour keeps the rules by asking for two. */
const ASKS_MAX = 16;

export interface LinkTools {
  readonly id: string;
  readonly server: PieceServer;
  readonly digest: Digest;
  readonly clock: Clock;
  /** Told when it has something new to give. */
  readonly onNews: () => void;
  /** Takes what was asked for. A rejection ends the link. */
  readonly onPiece: (index: number, bytes: Uint8Array) => Promise<void>;
}

export class Link implements Neighbour {
  readonly id: string;
  readonly #tools: LinkTools;
  readonly #stop = new AbortController();
  readonly #asks: Queue<Ask>;
  readonly #underway = new Map<number, Instant>();
  #has = new PieceSet(0);

  constructor(tools: LinkTools) {
    this.id = tools.id;
    this.#tools = tools;
    this.#asks = new Queue(ASKS_MAX, this.#stop.signal);
  }

  get has(): PieceSet {
    return this.#has;
  }

  get isWhole(): boolean {
    return this.#has.count > 0 && this.#has.isWhole;
  }

  get underway(): number {
    return this.#underway.size;
  }

  /** Pieces asked of it that have not come. */
  get pieces(): Iterable<number> {
    return this.#underway.keys();
  }

  /** Asks for a piece that it has. */
  ask(index: number): void {
    this.#underway.set(index, this.#tools.clock.now());
    this.#asks.push({ want: index });
  }

  /** When it is to be given up unless something comes before; undefined while nothing is asked of it. */
  get dueAt(): Instant | undefined {
    const [oldest] = this.#underway.values();
    return oldest === undefined ? undefined : oldest + PIECE_MS;
  }

  /** Ends it. */
  end(because: ClusterError): void {
    this.#stop.abort(because);
  }

  /**
   * Talks until it is ended; always rejects.
   * @throws ClusterError `invalid` for a node that lies, `unavailable` and others for one that does not answer
   */
  async run(cut: Cut): Promise<never> {
    const { server, digest, clock, onNews } = this.#tools;
    const late = clock.after(HELLO_MS, () => this.end(silent(this.id)));
    try {
      this.#asks.push({ digest });
      for await (const offer of server.exchange(this.#asks, { signal: this.#stop.signal })) {
        if (this.#has.count === 0) {
          late();
          if (offer.size !== cut.size || offer.pieceBytes !== cut.pieceBytes)
            throw new ClusterError('invalid', `node ${this.id} cuts blob ${digest} differently`);
          this.#has = new PieceSet(countOf(cut), offer.has ?? new Uint8Array(0));
        }
        for (const index of offer.gained ?? []) this.#has.add(index);
        if (offer.bytes !== null && offer.bytes !== undefined && offer.bytes.length > 0)
          await this.#take(offer.index ?? 0, offer.bytes);
        onNews();
      }
      throw new ClusterError('unavailable', `node ${this.id} ended the exchange of blob ${digest}`);
    } finally {
      late();
      this.#stop.abort();
    }
  }

  async #take(index: number, bytes: Uint8Array): Promise<void> {
    if (!this.#underway.has(index)) {
      throw new ClusterError('invalid', `node ${this.id} gave piece ${index}, which nobody asked for`);
    }
    try {
      await this.#tools.onPiece(index, bytes);
    } finally {
      this.#underway.delete(index);
    }
  }
}

/** A blob's pieces by another node's word, when no manager answers: only the whole blob's digest proves them. */
export async function listFrom(
  server: PieceServer,
  digest: Digest,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<PieceList> {
  const stop = new AbortController();
  const late = clock.after(PIECE_MS, () => stop.abort(silent('asked')));
  const asks = new Queue<Ask>(1, stop.signal);
  asks.push({ digest, list: true });
  try {
    for await (const { size, pieceBytes, hashes } of server.exchange(asks, {
      signal: AbortSignal.any([signal, stop.signal]),
    })) {
      const cut = cutOf(size ?? 0);
      if (cut.pieceBytes !== pieceBytes || hashes === null || hashes === undefined) break;
      return { ...cut, hashes };
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw toClusterError(cause);
  } finally {
    late();
    stop.abort();
  }
  throw new ClusterError('unavailable', `a node told nothing of the pieces of blob ${digest}`);
}

function silent(id: string): ClusterError {
  return new ClusterError('unavailable', `node ${id} does not answer within ${HELLO_MS} ms`);
}
