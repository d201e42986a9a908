/**
 * Takes a blob's bytes as they come: appends them to a file and hashes them. What is long goes to a thread of its own, because hashing
 * and writing a gigabyte is a second in which nothing else of the process would happen.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { type PromiseWithResolvers, withResolvers } from '../iterate.ts';

export interface Receiver {
  /** Takes bytes, which the caller may change afterwards. Resolves when there is room for more. @throws what the system says */
  add(bytes: Uint8Array): Promise<void>;
  /** Bytes that the file has already, in the same way. */
  addKnown(bytes: Uint8Array): Promise<void>;
  /** Resolves when everything taken is in the file. @throws what the system says */
  flush(): Promise<void>;
  /** Lower-case hex digits of all; after `flush`, once. */
  digest(): Promise<string>;
  /** Ends it, whatever it is at. */
  close(): Promise<void>;
}

/** Less is done by the time that a thread has started. */
const LONG_BYTES = 8 * 1024 * 1024;
/** Sources give 64 KiB and less, and a message or a write costs a turn of the loop. */
const BATCH_BYTES = 1024 * 1024;
/** One is filled while others are hashed and written. */
const BATCHES = 3;

/** @param expected  bytes that will come; undefined: nobody knows. `file` is open to append. */
export function receiverTo(file: FileHandle, expected: number | undefined): Receiver {
  return expected !== undefined && expected >= LONG_BYTES ? new ThreadReceiver(file) : new OwnReceiver(file);
}

/** Pieces gathered to be worth a turn of the loop. */
class Batch {
  readonly memory: ArrayBuffer;
  length = 0;

  constructor(memory: ArrayBuffer) {
    this.memory = memory;
  }

  /** How many of them it takes. */
  take(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.memory.byteLength - this.length);
    new Uint8Array(this.memory, this.length).set(count === bytes.length ? bytes : bytes.subarray(0, count));
    this.length += count;
    return count;
  }

  get isFull(): boolean {
    return this.length === this.memory.byteLength;
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.memory, 0, this.length);
  }
}

class OwnReceiver implements Receiver {
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
  #batch = new Batch(new ArrayBuffer(BATCH_BYTES));

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length; ) {
      at += this.#batch.take(bytes.subarray(at));
      if (this.#batch.isFull) await this.flush();
    }
  }

  addKnown(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    return Promise.resolve();
  }

  async flush(): Promise<void> {
    if (this.#batch.length > 0) await this.#file.appendFile(this.#batch.bytes);
    this.#batch.length = 0;
  }

  digest(): Promise<string> {
    return Promise.resolve(this.#hash.digest('hex'));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** What receiving-thread.js says. */
interface Word {
  readonly piece?: ArrayBuffer;
  readonly digest?: string;
  readonly code?: string;
  readonly message?: string;
  readonly isIdle?: boolean;
}

/** Threads at rest: the next blob of an image is a moment away, and a thread takes longer to start than a few mebibytes to be hashed. */
const atRest: Worker[] = [];
const AT_REST_MAX = 3;
const AT_REST_MS = 10_000;

function threadFor(fd: number): Worker {
  const options = {
    // Node's own threads need no loader, and this one no memory to speak of.
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 16 },
  };
  const worker = atRest.pop() ?? new Worker(new URL('receiving-thread.js', import.meta.url), options);
  worker.ref();
  worker.postMessage({ fd });
  return worker;
}

/** Nobody waits for it; it keeps no process alive, and ends when it is not wanted for a while. */
async function rest(worker: Worker): Promise<void> {
  worker.unref();
  if (atRest.length >= AT_REST_MAX) {
    await worker.terminate();
    return;
  }
  atRest.push(worker);
  systemClock.after(AT_REST_MS, () => {
    const at = atRest.indexOf(worker);
    if (at < 0) return;
    atRest.splice(at, 1);
    void worker.terminate();
  });
}

class ThreadReceiver implements Receiver {
  readonly #worker: Worker;
  readonly #free: ArrayBuffer[];
  readonly #digest = withResolvers<string>();
  readonly #idle = withResolvers<void>();
  #isBroken = false;
  #batch: Batch | undefined;
  #isNew = true;
  #failure: Error | undefined;
  #heard: PromiseWithResolvers<void> = withResolvers();

  constructor(file: FileHandle) {
    this.#free = Array.from({ length: BATCHES }, () => new ArrayBuffer(BATCH_BYTES));
    this.#worker = threadFor(file.fd);
    this.#worker.on('message', this.#hear);
    this.#worker.on('error', this.#break);
    this.#digest.promise.catch(() => undefined);
  }

  add(bytes: Uint8Array): Promise<void> {
    return this.#take(bytes, true);
  }

  addKnown(bytes: Uint8Array): Promise<void> {
    return this.#take(bytes, false);
  }

  async flush(): Promise<void> {
    this.#send();
    while (this.#free.length < BATCHES) await this.#next();
    if (this.#failure !== undefined) throw this.#failure;
  }

  digest(): Promise<string> {
    this.#worker.postMessage('digest');
    return this.#digest.promise;
  }

  /** Waits until it writes no more: the file is about to be closed, and its number another's. */
  async close(): Promise<void> {
    this.#worker.postMessage('end');
    await this.#idle.promise;
    this.#worker.off('message', this.#hear);
    this.#worker.off('error', this.#break);
    if (this.#isBroken) await this.#worker.terminate();
    else await rest(this.#worker);
  }

  async #take(bytes: Uint8Array, isNew: boolean): Promise<void> {
    if (isNew !== this.#isNew) this.#send();
    this.#isNew = isNew;
    for (let at = 0; at < bytes.length; ) {
      while (this.#batch === undefined) {
        const memory = this.#free.pop();
        if (memory === undefined) await this.#next();
        else this.#batch = new Batch(memory);
      }
      at += this.#batch.take(bytes.subarray(at));
      if (this.#batch.isFull) this.#send();
    }
  }

  /** Hands over what was gathered. */
  #send(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (batch === undefined) return;
    const { memory, length } = batch;
    this.#worker.postMessage({ piece: memory, length, isNew: this.#isNew }, [memory]);
  }

  /** Waits until the thread has done something. */
  async #next(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    await this.#heard.promise;
  }

  readonly #hear = ({ piece, digest, code, message, isIdle }: Word): void => {
    if (piece !== undefined) this.#free.push(piece);
    if (digest !== undefined) this.#digest.resolve(digest);
    if (message !== undefined) this.#fail(Object.assign(new Error(message), { code }));
    if (isIdle === true) this.#idle.resolve();
    this.#wake();
  };

  /** The thread itself has ended. */
  readonly #break = (cause: Error): void => {
    this.#isBroken = true;
    this.#fail(cause);
    this.#idle.resolve();
  };

  #fail(cause: Error): void {
    this.#failure ??= cause;
    this.#digest.reject(cause);
    this.#wake();
  }

  #wake(): void {
    const heard = this.#heard;
    this.#heard = withResolvers();
    heard.resolve();
  }
}
