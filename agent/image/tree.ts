/**
 * Trees of files on this host as entries: an image's merged layers, what a container has changed, a build's context. Comes in: the
 * folders, topmost first. Goes out: entries in an order that is always the same, with their bodies in pieces of up to 1 MiB.
 */
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { native } from '../../native/index.ts';
import { type NativeTreeEntry, TREE_KIND, type TreeLayer } from '../../native/tree.ts';

export type { TreeLayer };

export interface TreeWish {
  /** Topmost first, at least one. */
  readonly layers: readonly TreeLayer[];
  /** Byte string; where to begin, beneath the layers. Default: the root. Links on the way are followed, one at its end is told. */
  readonly path?: string;
  /** Tells what hides lower layers too; one layer only. */
  readonly raw?: boolean;
}

const KINDS = new Map(Object.entries(TREE_KIND).map(([name, number]) => [number, name as TreeEntry['kind']]));

/**
 * The entries, a folder before what is in it, names in order of their bytes. A tree that changes meanwhile gives each file as it is met.
 * @throws a NativeError naming the path, ENOENT when nothing is there to begin with
 */
export async function* treeEntries(wish: TreeWish, signal: AbortSignal): AsyncGenerator<TreeEntry> {
  const walk = await native().treeWalk(wish.layers, wish.path ?? '', wish.raw ?? false);
  try {
    for (;;) {
      signal.throwIfAborted();
      const batch = await walk.next();
      if (batch === null) return;
      for (const entry of batch.entries) yield treeEntry(entry, batch.bytes);
    }
  } finally {
    walk.close();
  }
}

/** Nothing is copied: the body shares the batch's memory. */
export function treeEntry(entry: NativeTreeEntry, bytes: Buffer): TreeEntry {
  const { at, length, kind, ...rest } = entry;
  return {
    ...rest,
    kind: KINDS.get(kind) as TreeEntry['kind'],
    body: length === 0 ? null : bytes.subarray(at, at + length),
  };
}

/** Where a path leads beneath the layers, topmost first; `entry` is undefined when nothing is there. Byte strings. */
export async function lookUp(
  layers: readonly TreeLayer[],
  path: string,
  { follow }: { readonly follow: boolean },
): Promise<{ readonly path: string; readonly entry?: TreeEntry }> {
  const { path: found, entry } = await native().treeLookUp(layers, path, follow);
  return entry === null ? { path: found } : { path: found, entry: treeEntry(entry, Buffer.alloc(0)) };
}
