/** The calls that another node makes on one connection: frames in, the handler's offers out. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { Queue } from '../../../common/iterate.ts';
import { covey } from '../../../proto/messages.ts';
import type { Mesh } from '../../../proto/methods.ts';
import type { Handlers, Peer } from '../../../proto/rpc.ts';
import { type Frame, KIND } from './frames.ts';
import { Wire } from './wire.ts';

type Ask = covey.v1.ExchangeAsk;

/** It waits for its turn before it asks again. */
const ASKS_MAX = 16;
/** On one connection: a node takes a few layers at once. */
const CALLS_MAX = 64;

export interface CallersTools {
  readonly socket: TLSSocket;
  /** Undefined once its certificate's time is over. */
  readonly peerOf: () => Peer | undefined;
  readonly exchange: Handlers<typeof Mesh>;
  readonly clock: Clock;
  /** A failure as the caller is told of it. */
  readonly encodeEnd: (cause: unknown) => Uint8Array;
}

interface Served {
  readonly asks: Queue<Ask>;
  readonly gone: AbortController;
}

export class Callers {
  readonly #tools: CallersTools;
  readonly #wire: Wire;
  readonly #calls = new Map<number, Served>();

  private constructor(tools: CallersTools) {
    this.#tools = tools;
    const { socket, clock } = tools;
    this.#wire = new Wire({
      socket,
      name: 'the caller',
      isCaller: false,
      clock,
      onFrame: (frame) => this.#hear(frame),
      onClosed: (cause) => {
        for (const { gone } of this.#calls.values()) gone.abort(cause);
        this.#calls.clear();
      },
    });
    socket.on('data', (bytes: Buffer) => this.#wire.take(bytes));
  }

  /** Answers until the connection ends. */
  static serve(tools: CallersTools): void {
    new Callers(tools);
  }

  #hear({ call: id, kind, message }: Frame): void {
    const call = this.#calls.get(id);
    if (kind === KIND.end) {
      this.#calls.delete(id);
      call?.gone.abort(new ClusterError('unavailable', 'the caller has ended the call'));
      return;
    }
    const ask = covey.v1.ExchangeAsk.decode(message);
    if (call !== undefined) {
      if (!call.asks.push(ask)) call.gone.abort(new ClusterError('invalid', 'too much was asked at once'));
      return;
    }
    // Asked before the caller heard that the call had ended here.
    if (ask.digest === '') return;
    if (this.#calls.size >= CALLS_MAX) {
      const cause = new ClusterError('exhausted', `${CALLS_MAX} calls are made on this connection already`);
      void this.#wire.send(id, KIND.end, this.#tools.encodeEnd(cause));
      return;
    }
    const gone = new AbortController();
    const asks = new Queue<Ask>(ASKS_MAX, gone.signal);
    asks.push(ask);
    this.#calls.set(id, { asks, gone });
    void this.#serve(id, { asks, gone });
  }

  /** Never rejects. */
  async #serve(id: number, { asks, gone }: Served): Promise<void> {
    const { peerOf, exchange, encodeEnd } = this.#tools;
    let end: Uint8Array = new Uint8Array(0);
    try {
      for await (const { bytes, ...offer } of exchange.exchange(asks, { peer: peerOf(), signal: gone.signal })) {
        await this.#wire.send(id, KIND.message, covey.v1.ExchangeOffer.encode(offer).finish(), bytes ?? undefined);
        if (gone.signal.aborted) break;
      }
    } catch (cause) {
      end = encodeEnd(cause);
    }
    // One that the caller has ended is not waited for.
    if (this.#calls.delete(id)) await this.#wire.send(id, KIND.end, end);
    gone.abort(new ClusterError('unavailable', 'the call has ended'));
  }
}
