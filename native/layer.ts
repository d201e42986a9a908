/** Folders of unpacked image layers. */

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
  /** `file`, `append`: the body ends here, and owner, mode, attributes and times are set. */
  readonly last: boolean;
  /** Not to be changed until the promise is settled; null = none. */
  readonly body: Uint8Array | null;
  readonly xattrs: readonly (readonly [name: string, value: string])[];
}

export interface LayerAddon {
  /**
   * Does the steps in order, off the main thread, beneath the folder open as `rootFd`, whose links lead nowhere outside.
   * One call at a time for a folder. Rejects with a NativeError naming the step's path; earlier steps stay done.
   */
  layerApply(rootFd: number, ops: readonly LayerOp[]): Promise<void>;
  /** Removes a file or a folder with everything in it, however deep; a missing one is fine. Follows no links. */
  removeTree(path: string): Promise<void>;
  /** syncfs(2) of the file system that holds `fd`. */
  syncFileSystem(fd: number): Promise<void>;
}
