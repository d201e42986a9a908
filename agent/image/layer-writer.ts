/**
 * Makes layers on this host. Comes in: entries of a tree. Goes out: a layer's folder under its DiffID, as if it had been pulled and
 * unpacked, and from such a folder, at any time, the packed blob: always the same bytes, because folders are read in one order.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { wrongDigest } from '../../common/oci/digest.ts';
import { diskError } from '../../common/oci/disk.ts';
import { gzipped } from '../../common/oci/gzip.ts';
import { type Descriptor, LAYER_GZIP_TYPE } from '../../common/oci/manifest.ts';
import { tarOf } from '../../common/oci/tar-writer.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { LAYER_OP, type LayerOp } from '../../native/layer.ts';
import type { LayerFolders } from './layer-folders.ts';
import { treeEntries } from './tree.ts';
import { FolderWriter } from './unpack.ts';

/** A packed layer as a manifest names it. */
export type LayerBlob = Pick<Descriptor, 'mediaType' | 'digest' | 'size'>;

/** What begins the name of a blob that is being written; it stays only after a crash. */
export const UNPACKED_BLOB = 'layer-';

/**
 * Makes a layer's folder from entries. One that exists already stays, and the new one is dropped.
 *
 * @param hold  told the DiffID before the layer shows under it, so that no collection comes between
 * @throws ClusterError `exhausted` for a full disk, and what `entries` throws; then nothing is left
 */
export async function makeLayer(
  folders: LayerFolders,
  entries: AsyncIterable<TreeEntry>,
  hold: (diffId: Digest) => void,
  signal: AbortSignal,
): Promise<Digest> {
  return folders.add(async (dir) => {
    await writeTree(dir, entries, signal);
    const hash = createHash('sha256');
    for await (const chunk of layerTar(dir, signal)) hash.update(chunk);
    const diffId = `sha256:${hash.digest('hex')}` as Digest;
    hold(diffId);
    return diffId;
  });
}

/** Writes entries into a folder that is nobody else's; what hides lower layers in overlayfs' form. */
export async function writeTree(dir: string, entries: AsyncIterable<TreeEntry>, signal: AbortSignal): Promise<void> {
  const folder = await open(dir, 'r');
  const writer = new FolderWriter(folder, `layer in ${dir}`);
  try {
    let offset = 0;
    for await (const entry of entries) {
      signal.throwIfAborted();
      if (entry.kind !== 'append') offset = 0;
      const op = opOf(entry, offset);
      if (op !== undefined) await writer.add(op);
      offset += entry.body?.length ?? 0;
    }
    await writer.finish();
  } finally {
    await writer.settled();
    await folder.close();
  }
}

/** The root itself keeps what an unpacked layer's has: layers say nothing of it. */
function opOf(entry: TreeEntry, offset: number): LayerOp | undefined {
  if (entry.path === '' && entry.kind === 'directory') return undefined;
  return { ...entry, kind: LAYER_OP[entry.kind], offset };
}

/**
 * Packs a layer's folder into `blobs`.
 *
 * @throws ClusterError `invalid` when the folder is not the layer `diffId`, `exhausted` for a full disk
 */
export async function packLayer(
  blobs: BlobStore,
  layer: { readonly dir: string; readonly diffId: Digest },
  signal: AbortSignal,
): Promise<LayerBlob> {
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  const path = join(blobs.incoming, `${UNPACKED_BLOB}${randomBytes(8).toString('hex')}`);
  const file = await open(path, 'wx', 0o600);
  let size = 0;
  try {
    for await (const chunk of gzipped(hashed(layerTar(layer.dir, signal), plain))) {
      packed.update(chunk);
      size += chunk.length;
      await writeAll(file, chunk);
    }
    const found = `sha256:${plain.digest('hex')}`;
    if (found !== layer.diffId) throw wrongDigest({ name: `layer in ${layer.dir}`, digest: layer.diffId }, found);
    await file.datasync();
    const digest = `sha256:${packed.digest('hex')}` as Digest;
    await blobs.adopt(path, digest);
    return { mediaType: LAYER_GZIP_TYPE, digest, size };
  } catch (cause) {
    await rm(path, { force: true });
    throw diskError(`layer ${layer.diffId}`, cause);
  } finally {
    await file.close();
  }
}

/** A layer's folder as the tar whose digest is its DiffID. */
function layerTar(dir: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  return tarOf(treeEntries({ layers: [{ path: dir, idBase: 0 }], raw: true }, signal));
}

async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: { update(chunk: Uint8Array): unknown },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten;
}
