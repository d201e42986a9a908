/**
 * Gives pieces to other nodes. In: their asks, one call for each blob. Out: what is here of it, at once and as it grows, and
 * the pieces asked for, at the pace that this host may give. It never asks anybody and never gives what is not proved.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { Queue, untilAborted } from '../../common/iterate.ts';
import { type Digest, isDigest } from '../../common/model/ids.ts';
import type { Throttle } from '../../common/throttle.ts';
import type { covey } from '../../proto/messages.ts';
import type { Mesh } from '../../proto/methods.ts';
import type { Call, Handlers } from '../../proto/rpc.ts';
import type { PieceSource } from './piece-file.ts';
import type { PieceMemory } from './piece-memory.ts';

type Offer = covey.v1.ExchangeOffer.$Properties;

/** What may wait to be sent to one caller: news once, a turn, a piece, and a few more turns of a quick caller. */
const DUES_MAX = 64;
/** A caller that does not say what it takes loses its turn to the others. */
const ANSWER_MS = 1_000;
/** Calls at once: each holds a stream and a set of pieces. */
const CALLS_MAX = 512;

type Due =
  | { readonly kind: 'news' | 'turn' }
  /** `gone`: it has been sent, or will not be. */
  | { readonly kind: 'piece'; readonly index: number; readonly gone: () => void };

export interface GiverTools {
  /** What is here of a blob; undefined for nothing. */
  readonly sourceOf: (digest: Digest) => Promise<PieceSource | undefined>;
  /** SHA-256 of each piece of a whole blob, one after another. */
  readonly hashesOf: (source: PieceSource, signal: AbortSignal) => Promise<Uint8Array>;
  /** False for a node that is not of the cluster, as far as this one knows. */
  readonly isMember: (nodeId: string) => boolean;
  readonly memory: PieceMemory;
  readonly uploads: Throttle;
  readonly clock: Clock;
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
      try {
        const hashes = list === true ? await this.#tools.hashesOf(source, signal) : undefined;
        yield { size: source.size, pieceBytes: source.pieceBytes, has: source.has.bits, ...(hashes && { hashes }) };
        yield* this.#give(source, reader, signal);
      } finally {
        await source.release();
      }
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
    const out = new Queue<Due>(DUES_MAX, ending);
    let gained: number[] = [];
    const release = source.onGained((index) => {
      if (gained.push(index) === 1) out.push({ kind: 'news' });
    });
    this.#listen(source, asks, { out, signal: ending }).then(
      () => out.end(),
      (cause: unknown) => out.fail(cause),
    );
    try {
      for await (const due of out) {
        const news = gained;
        gained = [];
        if (due.kind === 'piece') yield* this.#piece(source, due, news);
        else yield due.kind === 'turn' ? { gained: news, turn: true } : { gained: news };
      }
    } finally {
      release();
      over.abort();
    }
  }

  /** Its bytes are good until the next offer is asked for. */
  async *#piece(
    source: PieceSource,
    { index, gone }: Due & { readonly kind: 'piece' },
    gained: number[],
  ): AsyncIterable<Offer> {
    const { memory } = this.#tools;
    const bytes = memory.take(source.lengthOf(index));
    try {
      yield { gained, index, bytes: await source.read(index, bytes) };
    } finally {
      memory.give(bytes);
      gone();
    }
  }

  /** The caller says that it is ready, waits for its turn apart from the news, and says what it takes. */
  async #listen(
    source: PieceSource,
    asks: AsyncIterator<covey.v1.IExchangeAsk>,
    { out, signal }: { readonly out: Queue<Due>; readonly signal: AbortSignal },
  ): Promise<void> {
    const { uploads, clock } = this.#tools;
    for (let next = await asks.next(); next.done !== true; next = await asks.next()) {
      if (next.value.ready !== true) throw new ClusterError('invalid', 'a piece was asked for out of turn');
      const gone = await uploads.take(source.pieceBytes, signal);
      const late = clock.after(ANSWER_MS, gone);
      signal.addEventListener('abort', gone, { once: true });
      let sent = 0;
      try {
        out.push({ kind: 'turn' });
        const answer = await untilAborted(asks.next(), signal);
        const index = answer.done === true || answer.value.pass === true ? undefined : (answer.value.want ?? 0);
        if (index === undefined) continue;
        if (!source.has.has(index))
          throw new ClusterError('invalid', `piece ${index} was asked for, which is not here`);
        sent = Math.min(source.pieceBytes, source.size - index * source.pieceBytes);
        const isGone = (): void => {
          signal.removeEventListener('abort', gone);
          gone();
        };
        out.push({ kind: 'piece', index, gone: isGone });
      } finally {
        late();
        if (sent === 0) signal.removeEventListener('abort', gone);
        uploads.refund(source.pieceBytes - sent);
        if (sent === 0) gone();
      }
    }
  }
}
