/**
 * A folder of contents by their SHA-256. A content shows under its name only when it is whole and proved; one that is read is proved again,
 * because a machine that loses its power may show a name without its bytes.
 *
 *   DIR/<sha256>       a content
 *   DIR/new-<random>   being written      DIR/old-<random>   being removed; both go at the next start
 */
import { createHash, randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, messageOf } from '../../../common/errors.ts';
import { diskError } from '../../../common/oci/disk.ts';
import { shown } from '../../../common/oci/tar.ts';

export interface Content {
  /** SHA-256 in hexadecimal digits. */
  readonly digest: string;
  /** At least 1. */
  readonly size: number;
  /** Byte string: of a file that has it, for errors. */
  readonly path: string;
}

const READ_BYTES = 1024 * 1024;

export class ContentFolder {
  readonly #dir: string;
  /** Sizes of what is here. */
  readonly #here: Map<string, number>;

  private constructor(dir: string, here: Map<string, number>) {
    this.#dir = dir;
    this.#here = here;
  }

  /** Keeps of what is there the contents that are wanted, with their sizes. */
  static async open(dir: string, wanted: ReadonlyMap<string, number>): Promise<ContentFolder> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const here = new Map<string, number>();
    for (const name of await readdir(dir)) {
      const size = wanted.get(name);
      if (size === undefined) await rm(join(dir, name), { force: true });
      else here.set(name, size);
    }
    return new ContentFolder(dir, here);
  }

  has({ digest, size }: Pick<Content, 'digest' | 'size'>): boolean {
    return this.#here.get(digest) === size;
  }

  /**
   * Writes one, at the pace of its pieces. One that is here is written anew.
   * @throws ClusterError `invalid` when the pieces are not the content, `exhausted` for a full disk
   */
  async put(content: Content, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    const fresh = join(this.#dir, `new-${randomBytes(8).toString('hex')}`);
    try {
      const file = await open(fresh, 'wx', 0o600);
      try {
        await writeProved(file, content, pieces);
      } finally {
        await file.close();
      }
      // At once with what is known of it: nobody who removes it comes between.
      renameSync(fresh, join(this.#dir, content.digest));
      this.#here.set(content.digest, content.size);
    } catch (cause) {
      await rm(fresh, { force: true });
      throw diskError('the contents of build contexts', cause);
    }
  }

  /** In pieces of up to 1 MiB. @throws ClusterError `unavailable` when it is broken; it is then not here any more */
  async *read(digest: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    const size = this.#here.get(digest) ?? 0;
    const file = await open(join(this.#dir, digest), 'r').catch((cause: unknown) => {
      throw this.#broken(digest, messageOf(cause));
    });
    try {
      for (let at = 0; at < size; ) {
        signal.throwIfAborted();
        const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(Math.min(READ_BYTES, size - at)), 0, null, at);
        if (bytesRead === 0) throw this.#broken(digest, `it ends after ${at} bytes`);
        const piece = buffer.subarray(0, bytesRead);
        hash.update(piece);
        at += bytesRead;
        if (at === size && hash.digest('hex') !== digest) throw this.#broken(digest, 'it is not what its digest says');
        yield piece;
      }
    } finally {
      await file.close();
    }
  }

  /** Also a broken one; a missing one is fine. */
  async remove(digest: string): Promise<void> {
    this.#here.delete(digest);
    const old = join(this.#dir, `old-${randomBytes(8).toString('hex')}`);
    try {
      renameSync(join(this.#dir, digest), old);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw cause;
    }
    await rm(old, { force: true });
  }

  #broken(digest: string, why: string): ClusterError {
    this.#here.delete(digest);
    return new ClusterError('unavailable', `content ${digest} of the build context is broken on this node: ${why}`, {
      hint: 'build again: it is sent anew',
    });
  }
}

async function writeProved(
  file: FileHandle,
  { digest, path }: Content,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const hash = createHash('sha256');
  for await (const piece of pieces) {
    hash.update(piece);
    for (let at = 0; at < piece.length; ) at += (await file.write(piece, at)).bytesWritten;
  }
  if (hash.digest('hex') === digest) return;
  throw new ClusterError('invalid', `"${shown(path)}" of the build context is not what was listed`, {
    hint: 'if it changed while the build began, build again',
  });
}
