/**
 * Blobs by digest in a folder. Comes in: bytes and the digest they must have. Goes out: files that are whole and proved.
 * A blob appears by rename, so that a crash leaves nothing half there under a digest's name.
 *
 *   DIR/blobs/sha256/<hex>     whole blobs
 *   DIR/incoming/<hex>.part    the beginning of one, resumed by `fill`
 *   DIR/incoming/<hex>.pieces  one that arrives in pieces (agent/mesh)
 *   DIR/incoming/gone-<random> one that is being removed; what a crash left of it goes at the next start
 */
import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError } from '../errors.ts';
import { type Digest, type Instant, isDigest } from '../model/ids.ts';
import { wrongDigest } from './digest.ts';
import { diskError } from './disk.ts';
import { BLOB_BYTES_MAX } from './manifest.ts';
import { type Lender, piecesOf } from './pieces.ts';
import { type Receiver, receiverTo } from './receiver.ts';

/** Reading in larger pieces than Node's 64 KiB saves turns of the event loop. */
const READ_BYTES = 512 * 1024;

const GONE_PREFIX = 'gone-';

/** What waits in memory before it is brought to the disk. */
const WRITEBACK_BYTES = 32 * 1024 * 1024;

/** Where a blob's bytes come from, from `offset` on. */
export type BlobSource = (offset: number, signal: AbortSignal) => AsyncIterable<Uint8Array>;

export class BlobStore {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Makes the folders, mode 0700; what was begun before is kept and resumed. */
  static async open(dir: string): Promise<BlobStore> {
    const store = new BlobStore(dir);
    await mkdir(store.#blobs, { recursive: true, mode: 0o700 });
    await mkdir(store.incoming, { recursive: true, mode: 0o700 });
    for (const name of await readdir(store.incoming))
      if (name.startsWith(GONE_PREFIX)) await rm(join(store.incoming, name), { force: true });
    return store;
  }

  /** Folder on the same file system for files to be given to `adopt`. */
  get incoming(): string {
    return join(this.#dir, 'incoming');
  }

  /** Bytes of the blob; undefined when it is not here. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.path(digest))).size;
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw diskError(`blob ${digest}`, cause);
    }
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.sizeOf(digest)) !== undefined;
  }

  /** The blob's bytes from `offset` on, as `piecesOf`. @throws ClusterError `not_found` at the first read */
  async *read(digest: Digest, offset = 0, lender?: Lender): AsyncGenerator<Uint8Array> {
    try {
      yield* piecesOf(this.path(digest), offset, lender);
    } catch (cause) {
      if (isMissing(cause)) throw absent(digest);
      throw diskError(`blob ${digest}`, cause);
    }
  }

  /** A small blob as text. @throws ClusterError `not_found` | `invalid` when it is larger than `max` bytes */
  async text(digest: Digest, max: number): Promise<string> {
    const size = await this.sizeOf(digest);
    if (size === undefined) throw absent(digest);
    if (size > max) throw new ClusterError('invalid', `blob ${digest} has ${size} bytes, more than ${max}`);
    return readFile(this.path(digest), 'utf8');
  }

  /** Takes a file in `incoming` whose digest the caller has proved and which is synced; it is moved. */
  async adopt(path: string, digest: Digest): Promise<void> {
    try {
      await rename(path, this.path(digest));
      await this.#syncFolder();
    } catch (cause) {
      throw diskError(`blob ${digest}`, cause);
    }
  }

  /**
   * Brings a blob here unless it is: goes on behind what an earlier call left, proves the digest, then shows it.
   * One call at a time for a digest. What arrived stays for the next call when the source fails.
   *
   * @throws ClusterError `invalid` for a wrong digest or size (the beginning is thrown away), `exhausted` for a full disk,
   *   and what `source` throws
   */
  async fill(
    blob: { readonly digest: Digest; readonly size?: number },
    source: BlobSource,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest } = blob;
    if (await this.has(digest)) return;
    const path = join(this.incoming, `${hexOf(digest)}.part`);
    const file = await open(path, 'a+', 0o600).catch((cause: unknown) => {
      throw diskError(`blob ${digest}`, cause);
    });
    const receiver = receiverTo(file, blob.size);
    try {
      await this.#receive({ file, receiver, source }, blob, signal);
    } catch (cause) {
      const error = diskError(`blob ${digest}`, cause);
      // Corrupt bytes would make every resumption fail, and a full disk needs the room.
      if (error instanceof ClusterError && (error.code === 'invalid' || error.code === 'exhausted')) {
        await rm(path, { force: true });
      }
      throw error;
    } finally {
      // Before the file, which it writes to.
      await receiver.close();
      await file.close();
    }
    await this.adopt(path, digest);
  }

  /** A missing one is fine. It is out of sight at once, before the call has returned. */
  remove(digest: Digest): Promise<void> {
    return removeAll([this.#hidden(this.path(digest)), ...this.#hiddenParts(digest)]);
  }

  /** The beginning of one, not the whole one; in the same way. */
  drop(digest: Digest): Promise<void> {
    return removeAll(this.#hiddenParts(digest));
  }

  /** The blob to be read; the caller closes it. @throws ClusterError `not_found` when it is not here */
  async open(digest: Digest): Promise<FileHandle> {
    try {
      return await open(this.path(digest), 'r');
    } catch (cause) {
      if (isMissing(cause)) throw absent(digest);
      throw diskError(`blob ${digest}`, cause);
    }
  }

  /** Fills `bytes` with what the blob has from `offset` on. @throws ClusterError `not_found` when it is not here or has fewer */
  async readAt(digest: Digest, offset: number, bytes: Buffer): Promise<Buffer> {
    try {
      return await readAt(this.path(digest), offset, bytes);
    } catch (cause) {
      if (isMissing(cause)) throw absent(digest);
      throw diskError(`blob ${digest}`, cause);
    }
  }

  /** Where a blob is once it is whole. */
  path(digest: Digest): string {
    return join(this.#blobs, hexOf(digest));
  }

  /** Where a blob is while it arrives in pieces; to be given to `adopt`. */
  piecesPath(digest: Digest): string {
    return join(this.incoming, `${hexOf(digest)}.pieces`);
  }

  /** Every blob here, in no order. */
  async list(): Promise<readonly Digest[]> {
    const names = await readdir(this.#blobs);
    return names.map((name) => `sha256:${name}`).filter(isDigest);
  }

  /** Every blob here with its bytes and when it came, in no order. */
  async ages(): Promise<readonly { readonly digest: Digest; readonly size: number; readonly at: Instant }[]> {
    const ages: { digest: Digest; size: number; at: Instant }[] = [];
    for (const digest of await this.list()) {
      try {
        const { size, mtimeMs } = await stat(this.path(digest));
        ages.push({ digest, size, at: mtimeMs });
      } catch (cause) {
        // Removed meanwhile.
        if (!isMissing(cause)) throw diskError(`blob ${digest}`, cause);
      }
    }
    return ages;
  }

  /** Every blob that has a beginning here and no more, in no order. */
  async begun(): Promise<readonly Digest[]> {
    const names = await readdir(this.incoming);
    return names.map((name) => `sha256:${name.replace(/\.(part|pieces)$/, '')}`).filter(isDigest);
  }

  async #receive(
    { file, receiver, source }: { readonly file: FileHandle; readonly receiver: Receiver; readonly source: BlobSource },
    blob: { readonly digest: Digest; readonly size?: number },
    signal: AbortSignal,
  ): Promise<void> {
    const name = `blob ${blob.digest}`;
    let size = await takeUp(file, receiver);
    const writeback = new Writeback(file, size);
    const limit = blob.size ?? BLOB_BYTES_MAX;
    if (size < limit) {
      try {
        for await (const chunk of source(size, signal)) {
          signal.throwIfAborted();
          size += chunk.length;
          if (size > limit) throw corruptSize(name, `more than ${limit}`);
          await receiver.add(chunk);
          writeback.begin(size);
        }
      } finally {
        // What came before a failure is there to go on from.
        await receiver.flush();
        await writeback.settled();
      }
    }
    if (size < limit && blob.size !== undefined) {
      throw new ClusterError('unavailable', `${name} was cut off after ${size} of ${limit} bytes`);
    }
    if (size > limit) throw corruptSize(name, `${size} instead of ${limit}`);
    const found = `sha256:${await receiver.digest()}`;
    if (found !== blob.digest) throw wrongDigest({ name, digest: blob.digest }, found);
    await file.datasync();
  }

  async #syncFolder(): Promise<void> {
    const folder = await open(this.#blobs, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  #hiddenParts(digest: Digest): readonly (string | undefined)[] {
    return [join(this.incoming, `${hexOf(digest)}.part`), this.piecesPath(digest)].map((path) => this.#hidden(path));
  }

  /** Where the file is now; undefined when there is none. In one turn of the loop: who wants the blob meanwhile brings another. */
  #hidden(path: string): string | undefined {
    const gone = join(this.incoming, `${GONE_PREFIX}${randomBytes(8).toString('hex')}`);
    try {
      renameSync(path, gone);
      return gone;
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw cause;
    }
  }

  get #blobs(): string {
    return join(this.#dir, 'blobs', 'sha256');
  }
}

/** Begins to bring what has come to the disk while more comes: all at the end, a gigabyte would wait there as long as it took to arrive. */
class Writeback {
  readonly #file: FileHandle;
  #begunAt: number;
  #underway: Promise<void> | undefined;

  constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.#begunAt = size;
  }

  /** The file has so many bytes now. */
  begin(size: number): void {
    if (this.#underway !== undefined || size - this.#begunAt < WRITEBACK_BYTES) return;
    this.#begunAt = size;
    // What fails here fails again, and is told, when all of it has to be there.
    this.#underway = this.#file
      .datasync()
      .catch(() => undefined)
      .finally(() => {
        this.#underway = undefined;
      });
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#underway;
  }
}

/** What an earlier call left, into the hash. Resolves to how much it is. */
async function takeUp(file: FileHandle, receiver: Receiver): Promise<number> {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  let size = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, size);
    if (bytesRead === 0) return size;
    await receiver.addKnown(buffer.subarray(0, bytesRead));
    size += bytesRead;
  }
}

async function removeAll(paths: readonly (string | undefined)[]): Promise<void> {
  for (const path of paths) if (path !== undefined) await rm(path, { force: true });
}

function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

function absent(digest: Digest): ClusterError {
  return new ClusterError('not_found', `blob ${digest} is not here`);
}

function corruptSize(name: string, found: string): ClusterError {
  return new ClusterError('invalid', `${name} is corrupt: it has ${found} bytes`, { hint: 'load the image again' });
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

/** Fills `bytes` with what the file has from `offset` on. @throws as `open`; ClusterError `not_found` when it is shorter */
export async function readAt(path: string, offset: number, bytes: Buffer): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    return await readFrom(file, offset, bytes);
  } finally {
    await file.close();
  }
}

/** The same of an open file. */
export async function readFrom(file: FileHandle, offset: number, bytes: Buffer): Promise<Buffer> {
  const { bytesRead } = await file.read(bytes, 0, bytes.length, offset);
  if (bytesRead === bytes.length) return bytes;
  throw new ClusterError('not_found', `a file has ${offset + bytesRead} bytes, not ${offset + bytes.length}`);
}
