/** Folders on disk: unpacked image layers, and those that hold one container each. */

/** What a step does; the numbers are src/layer.h's. */
export const LAYER_OP = {
  file: 0,
  append: 1,
  directory: 2,
  symlink: 3,
  hardlink: 4,
  fifo: 5,
  whiteout: 6,
  opaque: 7,
  times: 8,
  character: 9,
  block: 10,
} as const;

/**
 * One step. `path`, `link` and attributes are byte strings (latin1); paths are relative to the layer's root, without `.` and
 * `..` parts, empty = the root itself. Every property is always there.
 */
export interface LayerOp {
  readonly kind: (typeof LAYER_OP)[keyof typeof LAYER_OP];
  readonly path: string;
  /** Target of links: as it will be read for symlinks, beneath the root for hard links. */
  readonly link: string;
  /** 0–0o7777 */
  readonly mode: number;
  /** 0–4294967294, like gid. */
  readonly uid: number;
  readonly gid: number;
  readonly seconds: number;
  readonly nanos: number;
  /** `file`, `append`: the body ends here, and length, owner, mode, attributes and times are set. */
  readonly last: boolean;
  /** `file`, `append`: where in the file `body` lies; what nothing lies in is a hole. */
  readonly offset: number;
  /** `file`, `append`: bytes of the whole file. */
  readonly size: number;
  /** `character`, `block` */
  readonly major: number;
  readonly minor: number;
  /** Not to be changed until the promise is settled; null = none. */
  readonly body: Uint8Array | null;
  readonly xattrs: readonly (readonly [name: string, value: string])[];
}

/** A file to be made; every property is always there. */
export interface NewFile {
  /** A name, or FOLDER/NAME; the folder gets mode 0755. */
  readonly path: string;
  readonly content: string;
  /** 0–0o777, less the umask. */
  readonly mode: number;
}

/** Steps in the core's own form, for one `layerApply`. */
export type LayerBatch = { readonly __batch: never };

export interface LayerAddon {
  /**
   * Makes a folder (mode 0700) and the files in it, in their order, off the main thread. Rejects with a NativeError,
   * EEXIST when the folder is there; then nothing of it stays.
   */
  makeFolder(path: string, files: readonly NewFile[]): Promise<void>;
  /**
   * Makes the folders `names` in a folder as one quota project that holds at most so many bytes. It holds who lives in a
   * user namespace. Rejects with EOPNOTSUPP naming the mount when its file system enforces no project quotas.
   */
  makeLimitedFolders(path: string, names: readonly string[], bytes: number): Promise<void>;
  /**
   * Makes a folder, and what is above it, when it is missing. On ext file systems what is made below it gets a place of its
   * own, so that many short-lived folders do not slow one another down.
   */
  makeSpreadFolder(path: string): Promise<void>;
  /** Steps made ready, so that they need not be when the folder is free for them. */
  layerBatch(ops: readonly LayerOp[]): LayerBatch;
  /**
   * Does the steps in order, off the main thread, beneath the folder open as `rootFd`, whose links lead nowhere outside.
   * One call at a time for a folder. A batch is
   * good for one call. Rejects with a NativeError naming the step's path; earlier steps stay done.
   */
  layerApply(rootFd: number, batch: LayerBatch): Promise<void>;
  /** Removes a file or a folder with everything in it, however deep; a missing one is fine. Follows no links. */
  removeTree(path: string): Promise<void>;
  /** syncfs(2) of the file system that holds `fd`. */
  syncFileSystem(fd: number): Promise<void>;
}
