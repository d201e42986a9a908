/** Files that commands write for their users. In: bytes as they come. Out: the whole file, or the one that was there before. */
import { once } from 'node:events';
import { fstatSync, writeSync } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { ClusterError, messageOf } from '../common/errors.ts';
import { isFull } from '../common/oci/disk.ts';

/**
 * Writes beside the file first, so that one that was there stays until the new one is whole.
 *
 * @throws ClusterError `invalid` when there can be no such file, `exhausted` for a full disk, and what `bytes` throws; then nothing is left
 */
export async function writeWhole(bytes: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  const target = await stat(path).catch(() => undefined);
  // A pipe or device is written to as it is.
  const draft = target === undefined || target.isFile() ? `${path}.${process.pid}.part` : path;
  const file = await open(draft, 'w').catch((cause: unknown) => {
    throw new ClusterError('invalid', `cannot write ${path}: ${messageOf(cause)}`, { field: '--output', cause });
  });
  try {
    try {
      for await (const piece of bytes) await file.writeFile(piece);
    } finally {
      await file.close();
    }
    if (draft !== path) await rename(draft, path);
  } catch (cause) {
    if (draft !== path) await rm(draft, { force: true });
    throw writeError(path, cause);
  }
}

/**
 * Writes to standard output, or another descriptor of a file.
 *
 * @throws ClusterError `exhausted` for a full disk, and what `bytes` throws
 */
export async function writeOut(bytes: AsyncIterable<Uint8Array>, fd = 1): Promise<void> {
  if (!fstatSync(fd).isFile()) {
    for await (const piece of bytes) if (!process.stdout.write(piece)) await once(process.stdout, 'drain');
    return;
  }
  try {
    // Node's own stream to a file takes no notice of a disk that takes a part only.
    for await (const piece of bytes) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
  } catch (cause) {
    throw writeError('standard output', cause);
  }
}

function writeError(what: string, cause: unknown): unknown {
  if (!isFull(cause)) return cause;
  return new ClusterError('exhausted', `${what} cannot be written: no space left on the disk`, {
    hint: 'free space there, or name a file elsewhere',
    cause,
  });
}
