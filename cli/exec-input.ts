/** What a user says to a command: the start, then input at the pace of whoever takes it, sizes and the end. */
import type { Readable } from 'node:stream';
import { withResolvers } from '../common/iterate.ts';
import type { covey } from '../proto/messages.ts';
import type { DetachKeys } from './detach-keys.ts';

type Input = covey.v1.ExecInput.$Properties;

/** A message's worth of input; the manager's and the node's buffers hold a few of them. */
const CHUNK_MAX_BYTES = 32 * 1_024;
/** Typed ahead of a command that does not read, on a terminal; detach keys behind more than that wait for it. */
const AHEAD_MAX_BYTES = 16 << 20;

export class ExecInput {
  readonly #orders: Input[] = [];
  readonly #source: Readable | undefined;
  readonly #keys: DetachKeys | undefined;
  #turn = withResolvers<void>();
  #hasSourceEnded = false;
  #isOver = false;
  /** Read of the source and not sent yet. */
  #ahead: Uint8Array = new Uint8Array();
  /** Bytes that may be sent. */
  #room: number;
  #isDetached = false;

  /**
   * @param source  absent: the command gets no input
   * @param keys  of a terminal: all that is typed is looked through at once, however slowly the command takes it, and
   *   nothing is sent before the command has begun
   */
  constructor(source?: Readable, keys?: DetachKeys) {
    this.#source = source;
    this.#keys = keys;
    this.#room = keys === undefined ? Number.POSITIVE_INFINITY : 0;
  }

  /** Goes out before further input. */
  send(order: Input): void {
    this.#orders.push(order);
    this.#turn.resolve();
  }

  /** So many bytes more may be sent. */
  allow(bytes: number): void {
    this.#room += bytes;
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
    const last = this.#source === undefined ? undefined : this.#last();
    while (!this.#isOver) {
      this.#turn = withResolvers<void>();
      this.#read();
      const next = this.#orders.shift() ?? this.#typed() ?? last?.();
      if (next === undefined) await this.#turn.promise;
      else yield next;
    }
  }

  #read(): void {
    const most = this.#keys === undefined ? 1 : AHEAD_MAX_BYTES;
    while (!this.#isDetached && this.#ahead.length < most) {
      const bytes = this.#source?.read() as Buffer | null | undefined;
      if (bytes === null || bytes === undefined) return;
      const typed = this.#keys?.type(bytes) ?? { bytes, isDetached: false };
      this.#ahead = this.#ahead.length === 0 ? typed.bytes : Buffer.concat([this.#ahead, typed.bytes]);
      this.#isDetached = typed.isDetached;
    }
  }

  #typed(): Input | undefined {
    const size = Math.min(this.#ahead.length, this.#room, CHUNK_MAX_BYTES);
    if (size === 0) return undefined;
    const stdin = this.#ahead.subarray(0, size);
    this.#ahead = this.#ahead.subarray(size);
    this.#room -= size;
    return { stdin };
  }

  /** What is said once when there is nothing else to say. What the command has no room for is not waited for by detaching. */
  #last(): () => Input | undefined {
    let isSaid = false;
    return () => {
      const isEnd = this.#hasSourceEnded && this.#ahead.length === 0;
      if (isSaid || !(this.#isDetached || isEnd)) return undefined;
      isSaid = true;
      return this.#isDetached ? { detach: {} } : { stdinEnd: {} };
    };
  }
}
