/**
 * Unpacks one layer into an empty folder. Comes in: entries that layer.ts let through. Goes out: files as overlayfs wants
 * them, whiteouts and opaque folders included. Entries travel to the native core in batches, because a call of its own for
 * each would cost more than the file; bodies are handed over without copying.
 */
import assert from 'node:assert';
import { type FileHandle, open } from 'node:fs/promises';
import { ClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import { diskError } from '../../common/oci/disk.ts';
import type { LayerEntry, LayerReader } from '../../common/oci/layer.ts';
import { shown, type TarEntry, type Xattr } from '../../common/oci/tar.ts';
import { isNativeError } from '../../native/error.ts';
import { native } from '../../native/index.ts';
import { LAYER_OP, type LayerOp } from '../../native/layer.ts';
import { LAYER_MEMORY } from '../mesh/layer-memory.ts';

export interface Unpacking {
  readonly reader: LayerReader;
  /** Must exist, be empty and be nobody else's. */
  readonly dir: string;
  readonly diffId: Digest;
  /** What errors call the layer. */
  readonly name: string;
}

export interface Unpacked {
  /** Entries that were left out: devices 0, 0, which would hide what lies below them (ADR 0021). */
  readonly leftOut: number;
}

/** Bounds what waits in memory: two batches at most, one being written while the next is read. */
const BATCH_OPS = 512;
const BATCH_BYTES = 4 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;
/** The kernel takes 2^32-1 as "leave it". */
const OWNER_MAX = 2 ** 32 - 2;
/** Errors that only an odd archive can cause; the rest is this host's trouble. */
const ARCHIVE_FAULTS = [
  'ENOTDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'ENOENT',
  'EISDIR',
  'EINVAL',
  'EEXIST',
  'EMLINK',
  'E2BIG',
  'ERANGE',
];

/**
 * @throws ClusterError `invalid` for a layer that cannot be unpacked or is not the one its DiffID names, `exhausted` for a
 *   full disk; the folder's content is then of no use
 */
export async function unpackLayer(unpacking: Unpacking, signal: AbortSignal): Promise<Unpacked> {
  const folder = await open(unpacking.dir, 'r');
  const writer = new FolderWriter(folder, unpacking.name);
  let leftOut = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const entry = await unpacking.reader.next();
      if (entry === undefined) break;
      if (entry.kind === 'nothing') leftOut += 1;
      await add(writer, entry, unpacking);
    }
    await unpacking.reader.prove(unpacking.diffId);
    await writer.finish();
    return { leftOut };
  } finally {
    await unpacking.reader.close();
    await writer.settled();
    await folder.close();
  }
}

async function add(writer: FolderWriter, entry: LayerEntry, unpacking: Unpacking): Promise<void> {
  if (entry.kind === 'nothing') return;
  if (entry.kind === 'whiteout' || entry.kind === 'opaque') {
    return writer.add({ ...BLANK, kind: LAYER_OP[entry.kind], path: entry.path });
  }
  if (entry.uid > OWNER_MAX || entry.gid > OWNER_MAX) {
    throw new ClusterError(
      'invalid',
      `${unpacking.name} is refused: "${shown(entry.path)}" has an owner beyond 32 bits`,
    );
  }
  const op: LayerOp = {
    kind: LAYER_OP[entry.kind === 'char' ? 'character' : entry.kind],
    path: entry.path,
    link: entry.link,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    seconds: entry.mtime.seconds,
    nanos: entry.mtime.nanos,
    last: true,
    offset: 0,
    size: entry.size,
    major: entry.device?.major ?? 0,
    minor: entry.device?.minor ?? 0,
    body: null,
    xattrs: entry.xattrs.filter(isKept),
  };
  return entry.kind === 'file' ? addFile(writer, entry, op, unpacking.reader) : writer.add(op);
}

/** A step for each piece of the body. */
async function addFile(writer: FolderWriter, entry: TarEntry, whole: LayerOp, reader: LayerReader): Promise<void> {
  const extents = entry.extents ?? [{ offset: 0, size: entry.size }];
  let left = extents.reduce((sum, extent) => sum + extent.size, 0);
  if (left === 0) return writer.add(whole);
  let kind: LayerOp['kind'] = LAYER_OP.file;
  for (const extent of extents) {
    for (let done = 0; done < extent.size; ) {
      const body = await reader.chunk(Math.min(PIECE_BYTES, extent.size - done));
      // The reader gives as many bytes as its extents have, or throws.
      assert(body !== undefined, 'a body ended before its extents');
      left -= body.length;
      await writer.add({ ...whole, kind, body, offset: extent.offset + done, last: left === 0 });
      kind = LAYER_OP.append;
      done += body.length;
    }
  }
}

const BLANK: LayerOp = {
  kind: LAYER_OP.file,
  path: '',
  link: '',
  mode: 0,
  uid: 0,
  gid: 0,
  seconds: 0,
  nanos: 0,
  last: true,
  offset: 0,
  size: 0,
  major: 0,
  minor: 0,
  body: null,
  xattrs: [],
};

const DEFAULT_ACL = 'system.posix_acl_default';
const KEPT = ['security.capability', 'system.posix_acl_access', DEFAULT_ACL];

/** trusted.overlay.* would let an image steer overlayfs itself, other security.* belong to the host's policy. */
function isKept([name]: Xattr): boolean {
  return name.startsWith('user.') || KEPT.includes(name);
}

const NONE: readonly Xattr[] = [];

/** What is set at once, and what is handed down to what a folder gets. */
function parted(xattrs: readonly Xattr[]): readonly [now: readonly Xattr[], handedDown: readonly Xattr[]] {
  if (!xattrs.some(([name]) => name === DEFAULT_ACL)) return [xattrs, NONE];
  return [xattrs.filter(([name]) => name !== DEFAULT_ACL), xattrs.filter(([name]) => name === DEFAULT_ACL)];
}

/** Gathers steps and writes them, one batch behind whoever adds them. */
export class FolderWriter {
  readonly #folder: FileHandle;
  readonly #name: string;
  /** Folders' times are set last: everything put into a folder changes them. So are the rights that a folder gives to what is made in it. */
  readonly #last = new Map<string, Pick<LayerOp, 'seconds' | 'nanos' | 'xattrs'>>();
  #ops: LayerOp[] = [];
  #bytes = 0;
  #underway: Promise<void> | undefined;

  constructor(folder: FileHandle, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  async add(op: LayerOp): Promise<void> {
    if (op.kind === LAYER_OP.directory) {
      const [now, handedDown] = parted(op.xattrs);
      this.#ops.push({ ...op, xattrs: now });
      // Nothing but what is needed: a layer may have a million folders.
      this.#last.set(op.path, { seconds: op.seconds, nanos: op.nanos, xattrs: handedDown });
    } else {
      this.#ops.push(op);
    }
    if (op.body !== null) LAYER_MEMORY.keep(op.body);
    this.#bytes += op.body?.length ?? 0;
    if (this.#ops.length >= BATCH_OPS || this.#bytes >= BATCH_BYTES) await this.#flush();
  }

  async finish(): Promise<void> {
    // Deeper ones first would not matter: setting times does not change a parent's.
    for (const [path, last] of this.#last) await this.add({ ...BLANK, ...last, kind: LAYER_OP.times, path });
    await this.#flush();
    await this.#written();
  }

  /** Waits until nothing is being written; never throws. */
  async settled(): Promise<void> {
    await this.#underway?.catch(() => undefined);
  }

  async #flush(): Promise<void> {
    // Made ready while the one before is still being written.
    const ops = this.#ops;
    const batch = ops.length === 0 ? undefined : native().layerBatch(ops);
    this.#ops = [];
    this.#bytes = 0;
    await this.#written();
    if (batch === undefined) return;
    const underway = native()
      .layerApply(this.#folder.fd, batch)
      .finally(() => {
        for (const { body } of ops) if (body !== null) LAYER_MEMORY.release(body);
      });
    // Looked at by the next flush; until then its failure is not an unhandled one.
    underway.catch(() => undefined);
    this.#underway = underway;
  }

  async #written(): Promise<void> {
    try {
      await this.#underway;
      this.#underway = undefined;
    } catch (cause) {
      if (isNativeError(cause) && ARCHIVE_FAULTS.includes(cause.code)) {
        throw new ClusterError('invalid', `${this.#name} cannot be unpacked: ${cause.message}`, { cause });
      }
      throw diskError(this.#name, cause);
    }
  }
}
