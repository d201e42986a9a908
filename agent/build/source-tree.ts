/**
 * What steps copy from: a stack of layers' folders, or a context that is only listed (listed/tree.ts). Paths are byte strings, relative
 * to the tree's root; no link leads out of it.
 */
import { createHash } from 'node:crypto';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { native } from '../../native/index.ts';
import { lookUp, type TreeLayer, treeEntries } from '../image/tree.ts';

export interface SourceTree {
  /** Where a path leads, links on the way resolved; `entry` is absent when nothing is there. `follow`: also through a link at its end. */
  lookUp(
    path: string,
    how: { readonly follow: boolean },
  ): Promise<{ readonly path: string; readonly entry?: TreeEntry }>;
  /** Names in a folder in order of their bytes; none when it is no folder. */
  names(folder: string): Promise<readonly string[]>;
  /** What is at `path` and below it, by paths from there: a folder before what is in it, names in order of their bytes. */
  entries(path: string, signal: AbortSignal): AsyncIterable<TreeEntry>;
  /** The same without bodies. */
  digests(path: string, signal: AbortSignal): AsyncIterable<DigestedEntry>;
}

export interface DigestedEntry {
  readonly entry: TreeEntry;
  /** SHA-256 of a file's content in hexadecimal digits; empty for whatever is no file. */
  readonly digest: string;
}

/** Layers' folders, topmost first, as overlayfs would show them; at least one. */
export class LayersTree implements SourceTree {
  readonly #layers: readonly TreeLayer[];

  constructor(layers: readonly TreeLayer[]) {
    this.#layers = layers;
  }

  lookUp(path: string, how: { readonly follow: boolean }): ReturnType<SourceTree['lookUp']> {
    return lookUp(this.#layers, path, how);
  }

  names(folder: string): Promise<readonly string[]> {
    return native().treeNames(this.#layers, folder);
  }

  entries(path: string, signal: AbortSignal): AsyncIterable<TreeEntry> {
    return treeEntries({ layers: this.#layers, path }, signal);
  }

  async *digests(path: string, signal: AbortSignal): AsyncGenerator<DigestedEntry> {
    let file: { readonly entry: TreeEntry; readonly hash: ReturnType<typeof createHash> } | undefined;
    for await (const entry of this.entries(path, signal)) {
      if (entry.kind !== 'append' && file !== undefined) {
        yield { entry: file.entry, digest: file.hash.digest('hex') };
        file = undefined;
      }
      if (entry.kind === 'file') file = { entry, hash: createHash('sha256') };
      else if (entry.kind !== 'append') yield { entry, digest: '' };
      if (entry.body !== null) file?.hash.update(entry.body);
    }
    if (file !== undefined) yield { entry: file.entry, digest: file.hash.digest('hex') };
  }
}
