/**
 * A blob that arrives in pieces, in any order. In: pieces, each proved by its hash before it is written. Out: the pieces
 * that are here, for others, and the blob's bytes in their order as far as they are here, for whoever unpacks it meanwhile.
 *
 * What is here is known by hashing, never by a note beside the file: a process or a machine may die at any moment, and a
 * hole in the file is only a piece that does not have its hash.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { ClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import { readAt, readFrom } from '../../common/oci/blob-store.ts';
import { countOf, hashOf, lengthOf, type PieceList, PieceSet } from '../../common/oci/cut.ts';
import { diskError } from '../../common/oci/disk.ts';
import { LAYER_MEMORY } from './layer-memory.ts';

/** Pieces of a blob that can be given to others. */
export interface PieceSource {
  /** Hashes only while the blob arrives; they are worked out anew when somebody needs them of a whole one. */
  readonly list: PieceList | undefined;
  readonly size: number;
  readonly pieceBytes: number;
  /** Grows. */
  readonly has: PieceSet;
  /** Bytes of piece `index`. */
  lengthOf(index: number): number;
  /** Fills `bytes`, which are as long as the piece. @throws ClusterError `not_found` when it is here no more */
  read(index: number, bytes: Buffer): Promise<Buffer>;
  /** Calls `gained` for each further piece until the returned function is called. */
  onGained(gained: (index: number) => void): () => void;
  /** Nothing more is read of it by whoever got it. */
  release(): Promise<void>;
}

export class PieceFile implements PieceSource {
  readonly list: PieceList;
  readonly has: PieceSet;
  readonly #name: string;
  readonly #file: FileHandle;
  readonly #listeners = new Set<(index: number) => void>();
  #path: string;
  #isClosed = false;
  #grown = withResolvers<void>();
  #failure: { readonly cause: unknown } | undefined;

  private constructor(name: string, path: string, file: FileHandle, list: PieceList) {
    this.#name = name;
    this.#path = path;
    this.#file = file;
    this.list = list;
    this.has = new PieceSet(countOf(list));
  }

  /**
   * Takes up what is in the file, which is made when there is none. One at a time for a path.
   * @param name  what errors call the blob
   */
  static async open(name: string, path: string, list: PieceList, signal: AbortSignal): Promise<PieceFile> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600).catch((cause: unknown) => {
      throw diskError(name, cause);
    });
    const pieces = new PieceFile(name, path, file, list);
    try {
      await pieces.#takeUp(signal);
      return pieces;
    } catch (cause) {
      await file.close();
      throw diskError(name, cause);
    }
  }

  get size(): number {
    return this.list.size;
  }

  get pieceBytes(): number {
    return this.list.pieceBytes;
  }

  /**
   * Takes a piece. One that is here already is fine.
   * @throws ClusterError `invalid` when it is not what its hash says, `exhausted` for a full disk
   */
  async write(index: number, bytes: Uint8Array): Promise<void> {
    if (this.has.has(index)) return;
    if (bytes.length !== lengthOf(this.list, index) || !this.#isPiece(index, bytes)) {
      throw new ClusterError('invalid', `piece ${index} of ${this.#name} is corrupt`);
    }
    try {
      // A disk that becomes full takes a part, and says so only of the rest.
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, index * this.pieceBytes + at);
        at += bytesWritten;
      }
    } catch (cause) {
      throw diskError(this.#name, cause);
    }
    if (!this.has.add(index)) return;
    for (const gained of this.#listeners) gained(index);
    this.#wake();
  }

  lengthOf(index: number): number {
    return lengthOf(this.list, index);
  }

  async read(index: number, bytes: Buffer): Promise<Buffer> {
    try {
      return await (this.#isClosed
        ? readAt(this.#path, index * this.pieceBytes, bytes)
        : readFrom(this.#file, index * this.pieceBytes, bytes));
    } catch (cause) {
      throw diskError(this.#name, cause);
    }
  }

  onGained(gained: (index: number) => void): () => void {
    this.#listeners.add(gained);
    return () => this.#listeners.delete(gained);
  }

  release(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * The blob's bytes from its beginning; waits for what is not here yet. A chunk is good until the next one is asked for. Throws what
   * `fail` was given.
   */
  async *bytes(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const file = await open(this.#path, 'r');
    try {
      for (let index = 0; index < this.has.count; index += 1) {
        while (!this.has.has(index)) {
          if (this.#failure !== undefined) throw this.#failure.cause;
          await untilAborted(this.#grown.promise, signal);
        }
        const bytes = LAYER_MEMORY.take(lengthOf(this.list, index));
        try {
          await file.read(bytes, 0, bytes.length, index * this.pieceBytes);
          yield bytes;
        } finally {
          LAYER_MEMORY.release(bytes);
        }
      }
    } finally {
      await file.close();
    }
  }

  /** No more pieces will come: who waits for one is told why. */
  fail(cause: unknown): void {
    this.#failure ??= { cause };
    this.#wake();
  }

  /** The file is now at `path`. */
  moved(path: string): void {
    this.#path = path;
  }

  /** No more pieces are taken; those that are here can be read on. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#file.close();
  }

  /** Ends it and removes the file. */
  async discard(): Promise<void> {
    await this.close();
    await rm(this.#path, { force: true });
  }

  async #takeUp(signal: AbortSignal): Promise<void> {
    const { size } = await this.#file.stat();
    const buffer = Buffer.allocUnsafe(this.pieceBytes);
    for (let index = 0; index < this.has.count && index * this.pieceBytes < size; index += 1) {
      signal.throwIfAborted();
      const length = lengthOf(this.list, index);
      const { bytesRead } = await this.#file.read(buffer, 0, length, index * this.pieceBytes);
      if (bytesRead === length && this.#isPiece(index, buffer.subarray(0, length))) this.has.add(index);
    }
    // Of another blob it can only be a stranger's: what a blob has beyond its end would be unpacked with it.
    if (size > this.size) await this.#file.truncate(this.size);
  }

  #isPiece(index: number, bytes: Uint8Array): boolean {
    return createHash('sha256').update(bytes).digest().equals(hashOf(this.list, index));
  }

  #wake(): void {
    const grown = this.#grown;
    this.#grown = withResolvers();
    // Nobody may be waiting.
    grown.resolve();
  }
}
