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

/** A node that has not said by then what it has is given up: fifty may ask it in the same second. */
export const HELLO_MS = 10_000;
/** So long may one piece take: a slow line and a queue, but not for ever. */
export const PIECE_MS = 15_000;
/** One that is asked says one thing at a time. */
const ASKS_MAX = 16;

type Stage =
  | { readonly kind: 'idle' }
  | { readonly kind: 'waiting' }
  | { readonly kind: 'coming'; readonly index: number; readonly since: Instant };

export interface LinkTools {
  readonly id: string;
  readonly server: PieceServer;
  readonly digest: Digest;
  readonly clock: Clock;
  /** Told when it has something new to give. */
  readonly onNews: () => void;
  /** It is its turn to give: what is wanted of it; undefined: nothing now. */
  readonly onTurn: () => number | undefined;
  /** Takes what was asked for. A rejection ends the link. */
  readonly onPiece: (index: number, bytes: Uint8Array) => Promise<void>;
}

export class Link implements Neighbour {
  readonly id: string;
  readonly #tools: LinkTools;
  readonly #stop = new AbortController();
  readonly #asks: Queue<Ask>;
  #stage: Stage = { kind: 'idle' };
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

  /** The piece that is on its way from it. */
  get underway(): number | undefined {
    return this.#stage.kind === 'coming' ? this.#stage.index : undefined;
  }

  /** True while it is not waited for. */
  get isIdle(): boolean {
    return this.#stage.kind === 'idle';
  }

  /** Waits for its turn to give. */
  ready(): void {
    this.#stage = { kind: 'waiting' };
    this.#asks.push({ ready: true });
  }

  /** When it is to be given up unless the piece comes before; undefined while none is on its way. */
  get dueAt(): Instant | undefined {
    return this.#stage.kind === 'coming' ? this.#stage.since + PIECE_MS : undefined;
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
        if (offer.turn === true) this.#answer();
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

  #answer(): void {
    const index = this.#stage.kind === 'waiting' ? this.#tools.onTurn() : undefined;
    this.#asks.push(index === undefined ? { pass: true } : { want: index });
    this.#stage = index === undefined ? { kind: 'idle' } : { kind: 'coming', index, since: this.#tools.clock.now() };
  }

  async #take(index: number, bytes: Uint8Array): Promise<void> {
    if (this.underway !== index) {
      throw new ClusterError('invalid', `node ${this.id} gave piece ${index}, which nobody asked for`);
    }
    await this.#tools.onPiece(index, bytes);
    this.#stage = { kind: 'idle' };
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
