/** Trees of files, read: one folder, or a stack of layer folders as overlayfs would show it. */

/** What an entry is; the numbers are src/tree_walk.h's, up to 7 those of LAYER_OP. */
export const TREE_KIND = {
  file: 0,
  append: 1,
  directory: 2,
  symlink: 3,
  hardlink: 4,
  fifo: 5,
  whiteout: 6,
  opaque: 7,
  character: 9,
  block: 10,
} as const;

/** A folder of the stack. */
export interface TreeLayer {
  /** Absolute. */
  readonly path: string;
  /** Ids on its disk are so much higher than the image's: those of a container with a user namespace. 0 = they are the same. */
  readonly idBase: number;
}

/**
 * One entry, or the next piece of a file's body (`append`, else as the file's own). `path`, `link` and attributes are byte strings (latin1); paths are
 * relative to where the walk began, empty = that itself. Every property is always there.
 */
export interface NativeTreeEntry {
  readonly kind: (typeof TREE_KIND)[keyof typeof TREE_KIND];
  readonly path: string;
  /** Of symlinks as it is read, of hard links an earlier path; else empty. */
  readonly link: string;
  /** 0–0o7777 */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a file's whole body. */
  readonly size: number;
  readonly seconds: number;
  readonly nanos: number;
  /** Of devices. */
  readonly major: number;
  readonly minor: number;
  /** The body ends here. */
  readonly last: boolean;
  /** Where this piece lies in the batch's bytes. */
  readonly at: number;
  readonly length: number;
  readonly xattrs: readonly (readonly [name: string, value: string])[];
}

export interface TreeBatch {
  readonly entries: readonly NativeTreeEntry[];
  readonly bytes: Buffer;
}

export interface TreeWalk {
  /** Up to 512 entries and 4 MiB; null at the end. One call at a time. */
  next(): Promise<TreeBatch | null>;
  close(): void;
}

export interface TreePlace {
  /** Where the path leads, links resolved, relative to the root; behind the last existing part as it was asked for. */
  readonly path: string;
  /** Null: nothing is there. Its own path and link are empty. */
  readonly entry: NativeTreeEntry | null;
}

/** Layers are topmost first. No link leads out of them, and none of their files is changed. */
export interface TreeAddon {
  /**
   * Walks from `path` downwards: a folder before what is in it, names in order of their bytes, a file of several names once and
   * then as hard links. Sockets, and what goes meanwhile, are left out. `raw` tells whiteouts and opaque folders, of one layer only.
   * Rejects with ENOENT when nothing is at `path`.
   */
  treeWalk(layers: readonly TreeLayer[], path: string, raw: boolean): Promise<TreeWalk>;
  /** Where `path` leads. `follow`: also through a link at its end. Rejects with ENOTDIR and ELOOP. */
  treeLookUp(layers: readonly TreeLayer[], path: string, follow: boolean): Promise<TreePlace>;
  /** Names in a folder in order of their bytes; none when it is no folder. */
  treeNames(layers: readonly TreeLayer[], path: string): Promise<readonly string[]>;
}
