/** What a tree of files consists of, on its way from a folder into an archive or into another folder. */
import type { Xattr } from './tar.ts';

/**
 * One entry, or the next piece of a file's body (`append`: else as the file's own). Paths, links and attributes are
 * byte strings (latin1). `whiteout` hides `path` of lower layers, `opaque` what they have in the folder `path`.
 */
export interface TreeEntry {
  readonly kind:
    | 'file'
    | 'append'
    | 'directory'
    | 'symlink'
    | 'hardlink'
    | 'fifo'
    | 'character'
    | 'block'
    | 'whiteout'
    | 'opaque';
  /** Relative to the tree's root, without empty, `.` and `..` parts; empty = the root itself. */
  readonly path: string;
  /** Of symlinks as it is read, of hard links an earlier path of the tree; else empty. */
  readonly link: string;
  /** 0–0o7777 */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a file's whole body; else 0. */
  readonly size: number;
  readonly seconds: number;
  /** 0–999999999 */
  readonly nanos: number;
  /** Of devices; else 0. */
  readonly major: number;
  readonly minor: number;
  /** A file's body ends with this piece. */
  readonly last: boolean;
  /** Null: none. */
  readonly body: Uint8Array | null;
  readonly xattrs: readonly Xattr[];
}
