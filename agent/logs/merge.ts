/** Several logs as one: whichever has something comes next, so that one that is only followed holds up no other. */

/** Ends when all sources have; throws the first failure. Leaving it asks the others to end; their signal makes them. */
export async function* merge<T>(sources: readonly AsyncIterable<T>[]): AsyncIterable<T> {
  const readers = sources.map((source) => source[Symbol.asyncIterator]());
  const ask = async (reader: AsyncIterator<T>) => ({ reader, result: await reader.next() });
  const asked = new Map(readers.map((reader) => [reader, ask(reader)]));
  try {
    while (asked.size > 0) {
      const { reader, result } = await Promise.race(asked.values());
      if (result.done === true) {
        asked.delete(reader);
      } else {
        asked.set(reader, ask(reader));
        yield result.value;
      }
    }
  } finally {
    for (const [reader, answer] of asked) {
      answer.catch(() => {});
      reader.return?.().catch(() => {});
    }
  }
}
