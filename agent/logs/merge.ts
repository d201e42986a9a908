/** Several logs as one. */

interface Dated {
  /** RFC 3339 with nine digits: compared as text. */
  readonly time?: string | null;
}

/** One log, and how far of its newest batch was taken. */
interface Source<T> {
  readonly reader: AsyncIterator<readonly T[]>;
  batch: readonly T[];
  at: number;
}

/** Lines of a batch: as many as are read of a file at once. */
const BATCH_MAX = 1_024;

/**
 * Whatever is there comes next, so that a log that is only followed holds up no other. Ends when all sources have; throws the
 * first failure. Leaving it asks the others to end; their signal makes them.
 */
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

/** Logs that grow no more, each in the order of time, as one in that order. Ends when all have; throws the first failure. */
export async function* mergeByTime<T extends Dated>(
  sources: readonly AsyncIterable<readonly T[]>[],
): AsyncIterable<T[]> {
  const all = sources.map((each): Source<T> => ({ reader: each[Symbol.asyncIterator](), batch: [], at: 0 }));
  const open: Source<T>[] = [];
  try {
    for (const source of all) if (await fill(source)) open.push(source);
    for (let merged: T[] = []; open.length > 0 || merged.length > 0; ) {
      const source = earliest(open);
      if (source !== undefined) {
        merged.push(source.batch[source.at] as T);
        source.at += 1;
        if (!(await fill(source))) open.splice(open.indexOf(source), 1);
      }
      if (merged.length < BATCH_MAX && open.length > 0) continue;
      yield merged;
      merged = [];
    }
  } finally {
    for (const { reader } of all) await reader.return?.();
  }
}

/** False at the end of the log. */
async function fill<T>(source: Source<T>): Promise<boolean> {
  while (source.at === source.batch.length) {
    const next = await source.reader.next();
    if (next.done === true) return false;
    source.batch = next.value;
    source.at = 0;
  }
  return true;
}

function earliest<T extends Dated>(open: readonly Source<T>[]): Source<T> | undefined {
  let found: Source<T> | undefined;
  for (const source of open) if (found === undefined || timeOf(source) < timeOf(found)) found = source;
  return found;
}

function timeOf<T extends Dated>({ batch, at }: Source<T>): string {
  return batch[at]?.time ?? '';
}
