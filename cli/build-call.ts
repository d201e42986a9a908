/** The call of a build: what is sent, the context as far as the node lacks it, and what comes back. */
import { systemClock } from '../common/clock.ts';
import { untilAborted, withResolvers } from '../common/iterate.ts';
import { formatBytes } from '../common/units.ts';
import type { covey } from '../proto/messages.ts';
import { contentsOf } from './build-context.ts';
import type { BuildSource } from './build-source.ts';
import type { EngineClient } from './client.ts';

/** Steps of the node's count from 1. */
const SENDING = 0;
/** As the contract says. */
const PIECE_BYTES = 1024 * 1024;
/** Of up to 4 KiB of path each. */
const ENTRIES_A_MESSAGE = 500;

type Shown = covey.v1.BuildOutput.$Properties;

export interface BuildCall {
  readonly first: covey.v1.BuildInput.$Properties;
  readonly context: BuildSource['context'];
  readonly show: (output: Shown) => void;
}

/** @throws ClusterError what the node says, or why the context cannot be sent */
export async function callBuild(
  engine: Pick<EngineClient, 'build'>,
  { first, context, show }: BuildCall,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const lack = withResolvers<readonly number[]>();
  const lacks = (): Promise<readonly number[]> => untilAborted(lack.promise, over.signal);
  const inputs = new Inputs(inputsOf({ first, context, show }, lacks));
  try {
    for await (const output of engine.build(inputs.read(), { signal })) {
      if (output.lacks) lack.resolve(output.lacks.entries ?? []);
      else show(output);
    }
  } catch (cause) {
    throw inputs.failure ?? cause;
  } finally {
    over.abort();
  }
}

/** What is sent, and why it could not be: the call itself only tells that it was given up. */
class Inputs {
  failure: unknown;
  readonly #source: AsyncIterable<covey.v1.BuildInput.$Properties>;

  constructor(source: AsyncIterable<covey.v1.BuildInput.$Properties>) {
    this.#source = source;
  }

  async *read(): AsyncGenerator<covey.v1.BuildInput.$Properties> {
    try {
      yield* this.#source;
    } catch (cause) {
      this.failure = cause;
      throw cause;
    }
  }
}

async function* inputsOf(
  { first, context, show }: BuildCall,
  lacks: () => Promise<readonly number[]>,
): AsyncGenerator<covey.v1.BuildInput.$Properties> {
  yield first;
  if (context.kind === 'tar') yield* inPieces(context.chunks);
  if (context.kind !== 'folder') return;
  yield* listingOf(context.entries);
  const wanted = await lacks();
  const startedAt = systemClock.now();
  show({ begin: { number: SENDING, title: sendingTitle(context.entries, wanted) } });
  yield* inPieces(contentsOf(context.folder, context.entries, wanted));
  const outcome = wanted.length === 0 ? 'cached' : 'done';
  show({ end: { number: SENDING, outcome, ms: systemClock.now() - startedAt } });
}

/** Files of one content are sent once. */
export function sendingTitle(entries: readonly covey.v1.ContextEntry.$Properties[], wanted: readonly number[]): string {
  const files = entries.filter(({ size = 0 }) => size > 0).length;
  const bytes = wanted.reduce((sum, at) => sum + (entries[at]?.size ?? 0), 0);
  const sent = wanted.length === 0 ? 'none to be sent' : `${wanted.length} to be sent (${formatBytes(bytes)})`;
  return `[context] ${files} ${files === 1 ? 'file' : 'files'}, ${sent}`;
}

function* listingOf(entries: readonly covey.v1.ContextEntry.$Properties[]): Generator<covey.v1.BuildInput.$Properties> {
  for (let at = 0; at < entries.length; at += ENTRIES_A_MESSAGE)
    yield { listing: { entries: entries.slice(at, at + ENTRIES_A_MESSAGE), last: false } };
  yield { listing: { entries: [], last: true } };
}

/** Small pieces, such as a tar's headers, are not worth a message each. */
async function* inPieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<covey.v1.BuildInput.$Properties> {
  let pieces: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      const piece = chunk.subarray(at, at + PIECE_BYTES);
      if (size + piece.length > PIECE_BYTES) {
        yield { context: Buffer.concat(pieces) };
        pieces = [];
        size = 0;
      }
      pieces.push(piece);
      size += piece.length;
    }
  }
  if (size > 0) yield { context: Buffer.concat(pieces) };
}
