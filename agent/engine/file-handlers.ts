/** Engine's methods of containers' files: messages in, one verb each, messages out. */
import { ClusterError } from '../../common/errors.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import type { covey } from '../../proto/messages.ts';
import type { Engine } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import type { Builder } from '../build/builder.ts';
import type { ContainerEngine } from './engine.ts';
import { changesOf, exported, type FileTools, layerOf, readPath, statOf, writePath } from './files.ts';

/** As the contract says. */
const CHUNK_BYTES = 1024 * 1024;

export interface FileHandlerTools extends FileTools {
  readonly builder: Pick<Builder, 'commit'>;
  readonly engine: ContainerEngine;
}

type Files = Pick<
  Handlers<typeof Engine>,
  'commitContainer' | 'containerChanges' | 'exportContainer' | 'statPath' | 'readPath' | 'writePath'
>;

export function fileHandlers(tools: FileHandlerTools): Files {
  const { engine } = tools;
  return {
    commitContainer: (request, { signal }) => commit(tools, request, signal),
    containerChanges: async ({ container }, { signal }) => ({
      changes: [...(await changesOf(tools, engine.find(container), signal))],
    }),
    exportContainer: ({ container }, { signal }) => chunked(exported(tools, engine.find(container), signal)),
    statPath: async ({ container, path, follow }, { signal }) => {
      const { path: found, entry } = await statOf(tools, engine.find(container), { path, follow }, signal);
      if (entry === undefined) return { exists: false, path: found };
      return { exists: true, path: found, kind: kindOf(entry), size: entry.size, mode: entry.mode };
    },
    readPath: ({ container, path, follow }, { signal }) =>
      chunked(readPath(tools, engine.find(container), { path, follow }, signal)),
    writePath: async (requests, { signal }) => {
      const messages = requests[Symbol.asyncIterator]();
      const first = await messages.next();
      if (first.done === true) throw new ClusterError('invalid', 'a copy begins with where it goes', { field: 'path' });
      const { container, path, keepOwner: keepsOwner } = first.value;
      const source = bytesOf(first.value, messages);
      await writePath(tools, engine.find(container), { path, keepsOwner }, source, signal);
      return {};
    },
  };
}

async function commit(
  tools: FileHandlerTools,
  { container: id, name, config, author, message, pause }: covey.v1.CommitContainerRequest,
  signal: AbortSignal,
): Promise<covey.v1.CommittedImage.$Properties> {
  const container = tools.engine.find(id);
  const { image, imageDigest } = container.record.spec.template.container;
  const createdBy = container.record.command.join(' ');
  const entries = layerOf(tools, container, signal);
  const isPaused = pause && container.state === 'running';
  if (isPaused) await container.pause();
  try {
    const wish = { base: `${image}@${imageDigest}`, name, entries, config, author, message, createdBy };
    return { digest: await tools.builder.commit(wish, signal) };
  } finally {
    // It may have been killed meanwhile.
    const now: string = container.state;
    if (isPaused && now === 'paused') await container.resume();
  }
}

function kindOf({ kind }: TreeEntry): string {
  return kind === 'file' || kind === 'directory' || kind === 'symlink' ? kind : 'other';
}

async function* chunked(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<covey.v1.FileChunk.$Properties> {
  for await (const piece of bytes) {
    for (let at = 0; at < piece.length; at += CHUNK_BYTES) yield { chunk: piece.subarray(at, at + CHUNK_BYTES) };
  }
}

async function* bytesOf(
  first: covey.v1.WritePathRequest,
  rest: AsyncIterator<covey.v1.WritePathRequest>,
): AsyncGenerator<Uint8Array> {
  if (first.chunk.length > 0) yield first.chunk;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value.chunk;
}
