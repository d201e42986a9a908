/** What a build gets for its context, and the tree that comes of it. */
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { covey } from '../../proto/messages.ts';
import { writeTree } from '../image/layer-writer.ts';
import { archiveEntries } from './archive.ts';
import { leaveOut } from './context.ts';
import { readListing } from './listed/listing.ts';
import type { ContextStore } from './listed/store.ts';
import { LayersTree, type SourceTree } from './source-tree.ts';
import type { Fetch } from './transfer-sources.ts';

export type ContextInput =
  | { readonly kind: 'none' }
  /** A tar, packed or not. */
  | { readonly kind: 'tar'; readonly chunks: AsyncIterable<Uint8Array> }
  /** A tar to be fetched. */
  | { readonly kind: 'url'; readonly url: string }
  /** A client's folder. */
  | {
      readonly kind: 'listed';
      /** 64 hexadecimal digits: the same for the same folder. */
      readonly origin: string;
      readonly listing: AsyncIterable<readonly covey.v1.ContextEntry.$Properties[]>;
      /** Those that are told to be lacking, in this order. */
      readonly contents: AsyncIterable<Uint8Array>;
    };

export interface ContextTools {
  readonly store: ContextStore;
  readonly fetch: Fetch;
}

/** What one build says of its context. */
export interface ContextWish {
  /** An empty folder that goes with the build. */
  readonly work: string;
  /** The image's, for people. */
  readonly name: string;
  /** Whose ignore file counts, when it lies in the context. */
  readonly dockerfile: { readonly name: string; readonly text?: string };
  /** Told which contents of a listing are to be sent. */
  readonly lacks: (entries: readonly number[]) => void;
}

export interface BuildContext {
  readonly tree?: SourceTree;
  readonly release: () => Promise<void>;
}

/** @throws ClusterError `invalid` for a context that is not sound, `exhausted` for a full disk */
export async function buildContext(
  { store, fetch }: ContextTools,
  input: ContextInput,
  wish: ContextWish,
  signal: AbortSignal,
): Promise<BuildContext> {
  switch (input.kind) {
    case 'none':
      return { release: async () => undefined };
    case 'tar':
      return await unpacked(input.chunks, wish, signal);
    case 'url':
      return await unpacked(fetched(fetch, input.url, signal), wish, signal);
    case 'listed': {
      const { origin, contents } = input;
      const { name, lacks } = wish;
      const listing = await readListing(input.listing);
      return await store.take({ listing, origin, name, lacks, contents }, signal);
    }
  }
}

async function unpacked(
  chunks: AsyncIterable<Uint8Array>,
  { work, dockerfile }: ContextWish,
  signal: AbortSignal,
): Promise<BuildContext> {
  const folder = join(work, 'context');
  await mkdir(folder, { mode: 0o755 });
  await writeTree(folder, archiveEntries(chunks, 'the build context'), signal);
  // A client that sends the Dockerfile has looked at what is to be left out.
  if (dockerfile.text === undefined) await leaveOut(folder, dockerfile.name, signal);
  return { tree: new LayersTree([{ path: folder, idBase: 0 }]), release: async () => undefined };
}

async function* fetched(fetch: Fetch, url: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { path, remove } = await fetch(url, signal);
  try {
    yield* createReadStream(path);
  } finally {
    await remove();
  }
}
