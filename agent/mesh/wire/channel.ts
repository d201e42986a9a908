/** Calls to one other node: made into frames of one connection, which is made for the first call and again after a loss. */
import { connect, type TLSSocket } from 'node:tls';
import type { Clock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { Queue } from '../../../common/iterate.ts';
import { PIECE_BYTES_MAX } from '../../../common/oci/cut.ts';
import { errorOfEnd } from '../../../common/rpc.ts';
import type { Identity } from '../../../common/tls/identity.ts';
import { identify } from '../../../common/tls/peer.ts';
import { covey } from '../../../proto/messages.ts';
import type { Mesh } from '../../../proto/methods.ts';
import type { CallOptions, Client } from '../../../proto/rpc.ts';
import { contextOf } from '../../../proto/secure-context.ts';
import type { PieceMemory } from '../piece-memory.ts';
import { type Frame, KIND } from './frames.ts';
import { Wire } from './wire.ts';

type Ask = covey.v1.ExchangeAsk.$Properties;
type Offer = covey.v1.ExchangeOffer;

/** News of one piece each, at worst, of a blob that has most. */
const OFFERS_MAX = 16_384;
/** One is asked for at a time. */
const PIECES_MAX = 2;
/** What a TLS record holds, four times. */
const READ_BYTES = 64 * 1024;
const CONNECT_MS = 5_000;

interface Call {
  readonly offers: Queue<Offer>;
  /** Pieces that wait to be read. */
  pieces: number;
}

export interface PieceChannelOptions {
  readonly nodeId: string;
  /** HOST:PORT */
  readonly address: string;
  readonly identity: Identity;
  readonly memory: PieceMemory;
  readonly clock: Clock;
}

export class PieceChannel implements Client<typeof Mesh> {
  readonly #options: PieceChannelOptions;
  #connection: Connection | undefined;

  constructor(options: PieceChannelOptions) {
    this.#options = options;
  }

  /**
   * The bytes of an offer are good until the next one is asked for.
   * @throws ClusterError what the other node says, or `unavailable` | `denied` when it cannot be talked to
   */
  async *exchange(asks: AsyncIterable<Ask>, { signal }: CallOptions): AsyncGenerator<Offer> {
    signal.throwIfAborted();
    if (this.#connection === undefined || this.#connection.hasEnded) this.#connection = new Connection(this.#options);
    const connection = this.#connection;
    const { id, call } = connection.begin(signal);
    connection.feed(id, asks);
    try {
      for await (const offer of call.offers) {
        yield offer;
        if (offer.bytes.length === 0) continue;
        call.pieces -= 1;
        this.#options.memory.give(offer.bytes);
      }
      signal.throwIfAborted();
    } finally {
      connection.end(id);
    }
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }
}

class Connection {
  readonly #wire: Wire;
  readonly #name: string;
  readonly #memory: PieceMemory;
  readonly #calls = new Map<number, Call>();
  #last = 0;

  constructor({ nodeId, address, identity, memory, clock }: PieceChannelOptions) {
    this.#memory = memory;
    this.#name = `node ${nodeId} at ${address}`;
    // What arrives is put into the memory of a piece at once: memory of its own for each 16 KiB would cost more than the copy.
    const onBytes = (count: number, buffer: Uint8Array): boolean => {
      this.#wire.take(buffer.subarray(0, count));
      return true;
    };
    const socket = connectTo({ nodeId, address, identity }, onBytes);
    const late = clock.after(CONNECT_MS, () => this.#wire.close(this.#away(`does not answer within ${CONNECT_MS} ms`)));
    socket.once('secureConnect', late);
    this.#wire = new Wire({
      socket,
      name: this.#name,
      isCaller: true,
      pieces: { bytesMax: PIECE_BYTES_MAX, take: (length) => memory.take(length) },
      clock,
      onFrame: (frame) => this.#hear(frame),
      onClosed: (cause) => {
        late();
        for (const { offers } of this.#calls.values()) offers.fail(cause);
        this.#calls.clear();
      },
    });
  }

  get hasEnded(): boolean {
    return this.#wire.cause !== undefined;
  }

  begin(signal: AbortSignal): { readonly id: number; readonly call: Call } {
    this.#last += 1;
    const call = { offers: new Queue<Offer>(OFFERS_MAX, signal), pieces: 0 };
    if (this.#wire.cause !== undefined) call.offers.fail(this.#wire.cause);
    this.#calls.set(this.#last, call);
    return { id: this.#last, call };
  }

  /** Sends what is asked until nothing more is. */
  feed(id: number, asks: AsyncIterable<Ask>): void {
    const sending = async (): Promise<void> => {
      for await (const ask of asks) {
        if (!this.#calls.has(id)) return;
        await this.#wire.send(id, KIND.message, covey.v1.ExchangeAsk.encode(ask).finish());
      }
    };
    // Who asks no more has ended the call, or is about to.
    sending().catch((cause: unknown) => this.#calls.get(id)?.offers.fail(cause));
  }

  /** Nothing more is wanted of the call. */
  end(id: number): void {
    if (this.#calls.delete(id)) void this.#wire.send(id, KIND.end, new Uint8Array(0));
  }

  close(): void {
    this.#wire.close(this.#away('is not asked any more'));
  }

  #hear({ call: id, kind, message, piece }: Frame): void {
    const call = this.#calls.get(id);
    if (call === undefined) {
      // Said before the end of the call was heard there.
      if (piece !== undefined) this.#memory.give(piece);
      return;
    }
    if (kind === KIND.end) {
      this.#calls.delete(id);
      if (message.length === 0) call.offers.end();
      else call.offers.fail(errorOfEnd(message));
      return;
    }
    const offer = covey.v1.ExchangeOffer.decode(message);
    if (piece !== undefined) {
      offer.bytes = piece;
      call.pieces += 1;
    }
    if (call.pieces <= PIECES_MAX && call.offers.push(offer)) return;
    call.offers.fail(new ClusterError('invalid', `${this.#name} says more than it was asked`));
  }

  #away(why: string): ClusterError {
    return new ClusterError('unavailable', `${this.#name} ${why}`);
  }
}

function connectTo(
  { nodeId, address, identity }: Pick<PieceChannelOptions, 'nodeId' | 'address' | 'identity'>,
  onBytes: (count: number, buffer: Uint8Array) => boolean,
): TLSSocket {
  const at = address.lastIndexOf(':');
  const known = identify(identity.ca);
  const options = {
    host: address.slice(0, at).replace(/^\[(.*)\]$/, '$1'),
    port: Number(address.slice(at + 1)),
    secureContext: contextOf(identity),
    checkServerIdentity: (_host: string, { raw }: { readonly raw: Buffer }) => {
      const peer = known(raw);
      if (peer?.role === 'worker' && peer.id === nodeId) return undefined;
      return new ClusterError('denied', `the server at ${address} is not node ${nodeId}`);
    },
    onread: { buffer: Buffer.allocUnsafeSlow(READ_BYTES), callback: onBytes },
  };
  return connect(options).setNoDelay(true);
}
