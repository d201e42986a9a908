/** Moves an async iterable into a grpc-js stream at the stream's own pace. */

/** What grpc-js's writable streams have in common. */
export interface Sink {
  write(message: unknown): boolean;
  end(): void;
  once(event: 'drain' | 'close' | 'cancelled' | 'error', listener: () => void): unknown;
  off(event: 'drain' | 'close' | 'cancelled' | 'error', listener: () => void): unknown;
  emit(event: 'error', error: object): boolean;
  readonly destroyed?: boolean;
  readonly cancelled?: boolean;
}

/** Writes everything `source` yields; ends early, and ends `source`, when the stream has gone. */
export async function pump(sink: Sink, source: AsyncIterable<unknown>): Promise<void> {
  for await (const message of source) {
    if (sink.destroyed === true || sink.cancelled === true) return;
    if (!sink.write(message)) await drained(sink);
  }
}

function drained(sink: Sink): Promise<void> {
  const events = ['drain', 'close', 'cancelled', 'error'] as const;
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of events) sink.off(event, done);
      resolve();
    };
    for (const event of events) sink.once(event, done);
  });
}
