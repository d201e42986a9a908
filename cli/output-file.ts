/** Files that commands write for their users. In: bytes as they come. Out: the whole file, or the one that was there before. */
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
    if (!isFull(cause)) throw cause;
    throw new ClusterError('exhausted', `${path} cannot be written: no space left on the disk`, {
      hint: 'free space there, or name a file elsewhere',
      cause,
    });
  }
}
