/**
 * Tars as trees: the context of a build, and what ADD unpacks. Comes in: bytes, packed or not. Goes out: entries with clean paths,
 * which stay beneath wherever they are written. Unlike a layer's (common/oci/layer.ts), names that begin with `.wh.` mean nothing.
 */
import { ClusterError } from '../../common/errors.ts';
import { LAYER_LIMITS, type LayerLimits } from '../../common/oci/layer.ts';
import { shown, type TarEntry, TarReader } from '../../common/oci/tar.ts';
import type { Extent } from '../../common/oci/tar-sparse.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { unpacked } from './unpacked.ts';

const PIECE_BYTES = 1024 * 1024;
/** Linux, PATH_MAX. */
const PATH_BYTES_MAX = 4_095;

/**
 * @param name  what errors call it
 * @throws ClusterError `invalid` naming archive and entry
 */
export async function* archiveEntries(
  source: AsyncIterable<Uint8Array>,
  name: string,
  limits: LayerLimits = LAYER_LIMITS,
): AsyncGenerator<TreeEntry> {
  const tar = new TarReader(unpacked(source, name), name);
  let entries = 0;
  let bytes = 0;
  try {
    for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
      entries += 1;
      bytes += entry.size;
      if (entries > limits.entries) throw refused(name, `it has more than ${limits.entries} entries`);
      if (bytes > limits.bytes) throw refused(name, `it unpacks to more than ${limits.bytes} bytes`);
      yield* piecesOf(tar, treeEntryOf(entry, name), entry.extents ?? [{ offset: 0, size: entry.size }]);
    }
  } finally {
    await tar.close();
  }
}

/** True when `source` is a tar, packed or not. It is read a little and closed. */
export async function isArchive(source: AsyncIterable<Uint8Array>): Promise<boolean> {
  const tar = new TarReader(unpacked(source, 'file'), 'file');
  try {
    return (await tar.next()) !== undefined;
  } catch {
    // Whatever it is, it is copied as it is.
    return false;
  } finally {
    await tar.close();
  }
}

/** A file with all its bytes, also those of holes: a layer's folder is what its tar says. */
async function* piecesOf(tar: TarReader, entry: TreeEntry, extents: readonly Extent[]): AsyncGenerator<TreeEntry> {
  if (entry.kind !== 'file' || entry.size === 0) {
    yield entry;
    return;
  }
  let kind: TreeEntry['kind'] = 'file';
  let done = 0;
  for await (const body of bodyOf(tar, extents, entry.size)) {
    done += body.length;
    yield { ...entry, kind, body, last: done === entry.size };
    kind = 'append';
  }
}

async function* bodyOf(tar: TarReader, extents: readonly Extent[], size: number): AsyncGenerator<Buffer> {
  let at = 0;
  for (const extent of extents) {
    yield* zeros(extent.offset - at);
    for (let left = extent.size; left > 0; ) {
      const piece = await tar.chunk(Math.min(left, PIECE_BYTES));
      if (piece === undefined) break;
      left -= piece.length;
      yield piece;
    }
    at = extent.offset + extent.size;
  }
  yield* zeros(size - at);
}

function* zeros(size: number): Generator<Buffer> {
  for (let left = size; left > 0; left -= PIECE_BYTES) yield Buffer.alloc(Math.min(left, PIECE_BYTES));
}

function treeEntryOf(entry: TarEntry, name: string): TreeEntry {
  const { mode, uid, gid, size, mtime, xattrs } = entry;
  const kind = entry.kind === 'char' ? 'character' : entry.kind;
  return {
    kind,
    path: clean(entry.path, name),
    link: kind === 'hardlink' ? clean(entry.link, name) : entry.link,
    mode,
    uid,
    gid,
    size,
    seconds: mtime.seconds,
    nanos: mtime.nanos,
    major: entry.device?.major ?? 0,
    minor: entry.device?.minor ?? 0,
    last: true,
    body: null,
    xattrs,
  };
}

function clean(path: string, name: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refused(name, `entry "${shown(path)}" leaves the root by ".."`);
  if (path.includes('\0') || path.length > PATH_BYTES_MAX)
    throw refused(name, `entry "${shown(path)}" has no sound name`);
  return parts.join('/');
}

function refused(name: string, why: string): ClusterError {
  return new ClusterError('invalid', `${name} is refused: ${why}`);
}
