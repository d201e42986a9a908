/** What a user says to a command: the start, then input at the pace of whoever takes it, sizes and the end. */
import type { Readable } from 'node:stream';
import { withResolvers } from '../common/iterate.ts';
import type { covey } from '../proto/messages.ts';
import type { DetachKeys } from './detach-keys.ts';

type Input = covey.v1.ExecInput.$Properties;

/** A message's worth of input; the manager's and the node's buffers hold a few of them. */
const CHUNK_MAX_BYTES = 32 * 1_024;

export class ExecInput {
  readonly #orders: Input[] = [];
  readonly #source: Readable | undefined;
  readonly #keys: DetachKeys | undefined;
  #turn = withResolvers<void>();
  #hasSourceEnded = false;
  #isOver = false;

  /** @param source  absent: the command gets no input */
  constructor(source?: Readable, keys?: DetachKeys) {
    this.#source = source;
    this.#keys = keys;
  }

  /** Goes out before further input. */
  send(order: Input): void {
    this.#orders.push(order);
    this.#turn.resolve();
  }

  /** The command has ended. */
  end(): void {
    this.#isOver = true;
    this.#turn.resolve();
  }

  /** For one reader; `start` waits for `ready`. Ends with `end` only: the call is the command's life. */
  async *messages(ready: Promise<void>, start: covey.v1.ExecStart.$Properties): AsyncIterable<Input> {
    await ready;
    yield { start };
    const ring = (): void => this.#turn.resolve();
    const finish = (): void => {
      this.#hasSourceEnded = true;
      ring();
    };
    this.#source?.on('readable', ring).on('end', finish).on('error', finish);
    let hasSaidEnd = this.#source === undefined;
    while (!this.#isOver) {
      this.#turn = withResolvers<void>();
      const order = this.#orders.shift();
      if (order !== undefined) {
        yield order;
        continue;
      }
      const bytes = hasSaidEnd ? null : (this.#source?.read() as Buffer | null);
      if (bytes !== null && bytes !== undefined) yield* this.#typed(bytes);
      else if (this.#hasSourceEnded && !hasSaidEnd) {
        hasSaidEnd = true;
        yield { stdinEnd: {} };
      } else await this.#turn.promise;
    }
  }

  *#typed(all: Buffer): Iterable<Input> {
    const typed = this.#keys?.type(all) ?? { bytes: all, isDetached: false };
    for (let at = 0; at < typed.bytes.length; at += CHUNK_MAX_BYTES) {
      yield { stdin: typed.bytes.subarray(at, at + CHUNK_MAX_BYTES) };
    }
    if (typed.isDetached) yield { detach: {} };
  }
}
