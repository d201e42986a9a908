/** One file of a log, open, and how far it was read; plain or compressed. */
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { type LogEntry, parseLogEntry } from '../runtime/log-line.ts';
import { compressedPath } from './files.ts';

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

export class LogFile {
  readonly inode: number;
  /** Its place among the files put aside, which the newest gets when it is put aside; undefined with an older shim. */
  readonly number: number | undefined;
  readonly #handle: FileHandle;
  readonly #isCompressed: boolean;
  #position = 0;
  /** The beginning of a line whose end was not there yet. */
  #rest: Buffer = Buffer.alloc(0);
  #isClosed = false;

  private constructor(handle: FileHandle, inode: number, number: number | undefined, isCompressed: boolean) {
    this.#handle = handle;
    this.inode = inode;
    this.number = number;
    this.#isCompressed = isCompressed;
  }

  /** The plain file, else its compressed form; undefined when there is neither. */
  static async open(path: string, number: number | undefined): Promise<LogFile | undefined> {
    const plain = await openIfThere(path);
    const handle = plain ?? (number === undefined ? undefined : await openIfThere(compressedPath(path)));
    if (handle === undefined) return undefined;
    return new LogFile(handle, (await handle.stat()).ino, number, plain === undefined);
  }

  /** From where the last call ended to the end of the file. */
  async *rest(signal: AbortSignal): AsyncIterable<readonly LogEntry[]> {
    for await (const chunk of this.#isCompressed ? this.#unpacked() : this.#plain()) {
      if (signal.aborted) return;
      const entries = this.#take(chunk);
      if (entries.length > 0) yield entries;
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#handle.close();
  }

  async *#plain(): AsyncIterable<Buffer> {
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const { bytesRead } = await this.#handle.read(chunk, 0, CHUNK_BYTES, this.#position);
      if (bytesRead === 0) return;
      this.#position += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  }

  /** All of it, once: a compressed file grows no more. */
  async *#unpacked(): AsyncIterable<Buffer> {
    if (this.#position > 0) return;
    const packed = Readable.from(this.#plain());
    const unpack = createGunzip();
    packed.on('error', (cause) => unpack.destroy(cause));
    try {
      yield* packed.pipe(unpack) as AsyncIterable<Buffer>;
    } finally {
      packed.destroy();
    }
  }

  #take(chunk: Buffer): readonly LogEntry[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const entries: LogEntry[] = [];
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      const entry = parseLogEntry(bytes.subarray(from, end));
      if (entry !== undefined) entries.push(entry);
      from = end + 1;
    }
    this.#rest = bytes.subarray(from);
    return entries;
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}
