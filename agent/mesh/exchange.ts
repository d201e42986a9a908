/**
 * Gives pieces to other nodes. In: their asks, one call for each blob. Out: what is here of it, at once and as it grows, and
 * the pieces asked for, at the pace that this host may give. It never asks anybody and never gives what is not proved.
 */
import { ClusterError } from '../../common/errors.ts';
import { Queue, untilAborted } from '../../common/iterate.ts';
import { type Digest, isDigest } from '../../common/model/ids.ts';
import type { Throttle } from '../../common/throttle.ts';
import type { covey } from '../../proto/messages.ts';
import type { Mesh } from '../../proto/methods.ts';
import type { Call, Handlers } from '../../proto/rpc.ts';
import type { PieceSource } from './piece-file.ts';

type Offer = covey.v1.ExchangeOffer.$Properties;

/** Pieces that one caller may have asked for; one that keeps the rules asks for two. */
const ASKS_MAX = 8;
/** Calls at once: each holds a stream and a set of pieces. */
const CALLS_MAX = 512;

export interface GiverTools {
  /** What is here of a blob; undefined for nothing. */
  readonly sourceOf: (digest: Digest) => Promise<PieceSource | undefined>;
  /** SHA-256 of each piece of a whole blob, one after another. */
  readonly hashesOf: (source: PieceSource, signal: AbortSignal) => Promise<Uint8Array>;
  /** False for a node that is not of the cluster, as far as this one knows. */
  readonly isMember: (nodeId: string) => boolean;
  readonly uploads: Throttle;
}

export class Giver {
  readonly #tools: GiverTools;
  #calls = 0;

  constructor(tools: GiverTools) {
    this.#tools = tools;
  }

  readonly handlers: Handlers<typeof Mesh> = {
    exchange: (asks, call) => this.#exchange(asks, call),
  };

  async *#exchange(asks: AsyncIterable<covey.v1.IExchangeAsk>, { peer, signal }: Call): AsyncIterable<Offer> {
    if (peer === undefined || !this.#tools.isMember(peer.id)) {
      throw new ClusterError(
        'denied',
        `node "${peer?.id ?? ''}" is not one of this cluster, as far as this node knows`,
      );
    }
    if (this.#calls >= CALLS_MAX) throw new ClusterError('exhausted', `${CALLS_MAX} nodes take pieces here already`);
    this.#calls += 1;
    try {
      const reader = asks[Symbol.asyncIterator]();
      const first = await untilAborted(reader.next(), signal);
      const { digest, list } = first.done === true ? {} : first.value;
      if (!isDigest(digest ?? '')) throw new ClusterError('invalid', 'an exchange began without a digest');
      const source = await this.#tools.sourceOf(digest as Digest);
      if (source === undefined) throw new ClusterError('not_found', `nothing of blob ${digest} is here`);
      const hashes = list === true ? await this.#tools.hashesOf(source, signal) : undefined;
      yield { size: source.size, pieceBytes: source.pieceBytes, has: source.has.bits, ...(hashes && { hashes }) };
      yield* this.#give(source, reader, signal);
    } finally {
      this.#calls -= 1;
    }
  }

  async *#give(
    source: PieceSource,
    asks: AsyncIterator<covey.v1.IExchangeAsk>,
    signal: AbortSignal,
  ): AsyncIterable<Offer> {
    const over = new AbortController();
    const ending = AbortSignal.any([signal, over.signal]);
    const wake = new Queue<'wake'>(1, ending);
    let gained: number[] = [];
    const granted: { readonly index: number; readonly gone: () => void }[] = [];
    const release = source.onGained((index) => {
      gained.push(index);
      wake.push('wake');
    });
    const grant = (index: number, gone: () => void): void => {
      granted.push({ index, gone });
      wake.push('wake');
    };
    this.#listen(source, asks, { grant, signal: ending }).then(
      () => wake.end(),
      (cause: unknown) => wake.fail(cause),
    );
    try {
      for await (const _ of wake) {
        while (gained.length > 0 || granted.length > 0) {
          const news = gained;
          gained = [];
          const next = granted.shift();
          try {
            if (next === undefined) yield { gained: news };
            else yield { gained: news, index: next.index, bytes: await source.read(next.index) };
          } finally {
            next?.gone();
          }
        }
      }
    } finally {
      release();
      over.abort();
      for (const { gone } of granted) gone();
    }
  }

  /** Each ask waits for its turn apart from the others, so that news need not wait behind it. */
  async #listen(
    source: PieceSource,
    asks: AsyncIterator<covey.v1.IExchangeAsk>,
    { grant, signal }: { readonly grant: (index: number, gone: () => void) => void; readonly signal: AbortSignal },
  ): Promise<void> {
    let waiting = 0;
    for (let next = await asks.next(); next.done !== true; next = await asks.next()) {
      const index = next.value.want ?? 0;
      if (!source.has.has(index)) throw new ClusterError('invalid', `piece ${index} was asked for, which is not here`);
      if (waiting >= ASKS_MAX)
        throw new ClusterError('exhausted', `more than ${ASKS_MAX} pieces were asked for at once`);
      waiting += 1;
      const bytes = Math.min(source.pieceBytes, source.size - index * source.pieceBytes);
      this.#tools.uploads.take(bytes, signal).then(
        (gone) => {
          const done = (): void => {
            waiting -= 1;
            gone();
          };
          if (signal.aborted) done();
          else grant(index, done);
        },
        // The call has ended: nobody waits for the piece.
        () => undefined,
      );
    }
  }
}
