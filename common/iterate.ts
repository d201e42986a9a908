/** Values that arrive over time, as AsyncIterables with a bound. */

/**
 * One reader's queue: pushed to synchronously, read with `for await`.
 * It ends when `signal` is aborted, when `end` is called or when the reader leaves its loop; what still waits after `end`
 * is read first, what waits after an abort is dropped.
 */
export class Queue<T> implements AsyncIterableIterator<T> {
  readonly #limit: number;
  #waiting: T[] = [];
  #head = 0;
  #reader: PromiseWithResolvers<IteratorResult<T>> | undefined;
  #end: { readonly cause: unknown } | 'clean' | undefined;
  readonly #release: () => void;

  /** @param limit  how many values may wait; `push` refuses more */
  constructor(limit: number, signal: AbortSignal) {
    this.#limit = limit;
    const onAbort = (): void => {
      this.clear();
      this.end();
    };
    this.#release = () => signal.removeEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  }

  /** Values that wait to be read. */
  get length(): number {
    return this.#waiting.length - this.#head;
  }

  /** True once nothing more will be taken. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** False when the queue is full or has ended: the value was not taken. */
  push(value: T): boolean {
    if (this.#end !== undefined) return false;
    if (this.#reader !== undefined) {
      const reader = this.#reader;
      this.#reader = undefined;
      reader.resolve({ done: false, value });
      return true;
    }
    if (this.length >= this.#limit) return false;
    this.#waiting.push(value);
    return true;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting = [];
    this.#head = 0;
  }

  /** No more values; the reader's loop ends after what waits. */
  end(): void {
    this.#finish('clean');
  }

  /** No more values; the reader's loop throws `cause` after what waits. */
  fail(cause: unknown): void {
    this.#finish({ cause });
  }

  next(): Promise<IteratorResult<T>> {
    if (this.length > 0) return Promise.resolve({ done: false, value: this.#take() });
    if (this.#end !== undefined) return this.#last(this.#end);
    this.#reader ??= withResolvers<IteratorResult<T>>();
    return this.#reader.promise;
  }

  return(): Promise<IteratorResult<T>> {
    this.clear();
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(): T {
    const value = this.#waiting[this.#head] as T;
    this.#head += 1;
    // Moving the rest down on each read would make a long queue quadratic.
    if (this.#head > 1_024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return value;
  }

  #finish(end: { readonly cause: unknown } | 'clean'): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#release();
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) return;
    if (end === 'clean') reader.resolve({ done: true, value: undefined });
    else reader.reject(end.cause);
  }

  #last(end: { readonly cause: unknown } | 'clean'): Promise<IteratorResult<T>> {
    if (end === 'clean') return Promise.resolve({ done: true, value: undefined });
    this.#end = 'clean';
    return Promise.reject(end.cause);
  }
}

/** A promise and its two ends. Source: ES2024 `Promise.withResolvers`, absent from Node 20. */
export interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (cause: unknown) => void;
}

/** Makes a promise that somebody else settles. */
export function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve!: (value: T) => void;
  let reject!: (cause: unknown) => void;
  const promise = new Promise<T>((onDone, onFail) => {
    resolve = onDone;
    reject = onFail;
  });
  return { promise, resolve, reject };
}

/**
 * Waits for `promise`, but no longer than `signal` lives: rejects with the signal's reason when it is aborted first.
 * The promise itself goes on; its late failure is nobody's.
 */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Resolves when `signal` is aborted, at once if it is already. Never rejects. */
export function aborted(signal: AbortSignal): Promise<void> {
  const end = withResolvers<void>();
  if (signal.aborted) end.resolve();
  else signal.addEventListener('abort', () => end.resolve(), { once: true });
  return end.promise;
}

/**
 * Keeps only the newest value for a reader that is slower than its source: while the reader works, older values are
 * dropped. Ends with `source` or `signal`.
 */
export async function* latest<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  const newest = new Queue<T>(1, signal);
  const pump = async (): Promise<void> => {
    for await (const value of source) {
      if (!newest.push(value)) {
        newest.clear();
        newest.push(value);
      }
      if (newest.ended) return;
    }
  };
  pump().then(
    () => newest.end(),
    (cause: unknown) => newest.fail(cause),
  );
  yield* newest;
}
