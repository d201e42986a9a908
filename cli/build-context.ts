/**
 * A folder as the context of a build: what its ignore file leaves, listed with the digests of its files, and then the contents of those
 * that the node asks for. Owners are nobody's business here.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Ignore, ignoreFileNames, ignoreOf } from '../common/context/ignore.ts';
import { ClusterError, messageOf } from '../common/errors.ts';
import type { covey } from '../proto/messages.ts';

type ContextEntry = covey.v1.ContextEntry.$Properties;

const READ_BYTES = 512 * 1024;
/** Larger files are read while others have their turn. */
const AT_ONCE_BYTES = 4 * 1024 * 1024;
const ENTRIES_A_TURN = 64;
const NANOS = 1_000_000_000n;
const PIECE = Buffer.allocUnsafe(READ_BYTES);

/**
 * What is left out: by the ignore file beside the Dockerfile, else the context's own.
 *
 * @param dockerfile  its path; absent: it came from elsewhere
 * @throws ClusterError `invalid` naming the line
 */
export async function readIgnore(context: string, dockerfile: string | undefined): Promise<Ignore | undefined> {
  const [beside, own] = ignoreFileNames(dockerfile ?? '');
  for (const path of [...(dockerfile === undefined ? [] : [beside]), join(context, own)]) {
    const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined;
      throw unreadable(path, cause);
    });
    if (text !== undefined) return ignoreOf(text, path);
  }
  return undefined;
}

/**
 * The same for the same folder of this host and the same Dockerfile: the node keeps what the last context from there had.
 * @param dockerfile  its path; `-`: it has none
 */
export function originOf(folder: string, dockerfile: string): string {
  const names = [hostname(), resolve(folder), resolve(dockerfile)];
  return createHash('sha256').update(JSON.stringify(names)).digest('hex');
}

/**
 * A folder before what is in it, names in order. Sockets are left out; a folder that is ignored is there for what in it is not.
 * @throws ClusterError `invalid` naming what cannot be read
 */
export async function listContext(
  folder: string,
  ignore: Ignore | undefined,
  signal: AbortSignal,
): Promise<readonly ContextEntry[]> {
  const entries: ContextEntry[] = [];
  for (const entry of new Walk(folder, ignore).entriesIn('')) {
    entries.push(entry.kind === 'file' ? { ...entry, ...(await contentOf(fileOf(folder, entry), entry.size)) } : entry);
    if (entries.length % ENTRIES_A_TURN !== 0) continue;
    await setImmediate();
    signal.throwIfAborted();
  }
  return entries;
}

/** The contents of some of the entries, one behind the other. @throws ClusterError `invalid` naming what cannot be read any more */
export async function* contentsOf(
  folder: string,
  entries: readonly ContextEntry[],
  wanted: readonly number[],
): AsyncGenerator<Uint8Array> {
  for (const at of wanted) {
    const entry = entries[at];
    const size = entry?.size ?? 0;
    if (entry === undefined || size === 0)
      throw new ClusterError('internal', `the node asks for entry ${at} of the build context, which has no content`);
    const file = fileOf(folder, entry);
    let left = size;
    try {
      for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES, end: size - 1 })) {
        left -= (chunk as Uint8Array).length;
        yield chunk as Uint8Array;
      }
    } catch (cause) {
      throw unreadable(file, cause);
    }
    if (left > 0) throw new ClusterError('invalid', `${file} has shrunk while it was read`, { hint: 'build again' });
  }
}

/** Looks without waiting: that takes a third of the time, and `listContext` lets others have their turn. */
class Walk {
  readonly #root: string;
  readonly #ignore: Ignore | undefined;
  /** Ignored folders above where we are, until something in them is told. */
  #waiting: readonly ContextEntry[] = [];

  constructor(root: string, ignore: Ignore | undefined) {
    this.#root = root;
    this.#ignore = ignore;
  }

  *entriesIn(folder: string): Generator<ContextEntry> {
    for (const name of namesIn(join(this.#root, folder))) {
      const path = folder === '' ? name : `${folder}/${name}`;
      const isIgnored = this.#ignore?.ignores(path) === true;
      if (isIgnored && this.#ignore?.isWhole(path) === true) continue;
      const entry = entryAt(join(this.#root, path), path);
      if (entry === undefined || (isIgnored && entry.kind !== 'directory')) continue;
      if (isIgnored) {
        yield* this.#ignored(entry, path);
        continue;
      }
      yield* this.#waiting;
      this.#waiting = [];
      yield entry;
      if (entry.kind === 'directory') yield* this.entriesIn(path);
    }
  }

  *#ignored(entry: ContextEntry, path: string): Generator<ContextEntry> {
    this.#waiting = [...this.#waiting, entry];
    yield* this.entriesIn(path);
    this.#waiting = this.#waiting.filter((each) => each !== entry);
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (cause) {
    throw unreadable(folder, cause);
  }
}

function entryAt(file: string, path: string): ContextEntry | undefined {
  try {
    const stat = lstatSync(file, { bigint: true });
    const common = {
      path: Buffer.from(path),
      mode: Number(stat.mode) & 0o7777,
      seconds: Number(stat.mtimeNs / NANOS),
      nanos: Number(stat.mtimeNs % NANOS),
    };
    if (stat.isDirectory()) return { ...common, kind: 'directory' };
    if (stat.isFile()) return { ...common, kind: 'file', size: Number(stat.size) };
    if (stat.isFIFO()) return { ...common, kind: 'fifo' };
    if (stat.isSymbolicLink()) return { ...common, kind: 'symlink', link: readlinkSync(file, 'buffer') };
    return undefined;
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** What a file holds by now, which may be less or more than when it was looked at. */
async function contentOf(file: string, sizeThen = 0): Promise<Pick<ContextEntry, 'size' | 'digest'>> {
  const hash = createHash('sha256');
  let size = 0;
  const add = (piece: Uint8Array): void => {
    hash.update(piece);
    size += piece.length;
  };
  try {
    if (sizeThen <= AT_ONCE_BYTES) readAtOnce(file, add);
    else for await (const piece of createReadStream(file, { highWaterMark: READ_BYTES })) add(piece as Uint8Array);
  } catch (cause) {
    throw unreadable(file, cause);
  }
  return size === 0 ? { size } : { size, digest: hash.digest() };
}

function readAtOnce(file: string, add: (piece: Uint8Array) => void): void {
  const fd = openSync(file, 'r');
  try {
    for (let got = readSync(fd, PIECE); got > 0; got = readSync(fd, PIECE)) add(PIECE.subarray(0, got));
  } finally {
    closeSync(fd);
  }
}

function fileOf(folder: string, { path }: ContextEntry): string {
  return join(folder, Buffer.from(path ?? []).toString('utf8'));
}

function unreadable(path: string, cause: unknown): ClusterError {
  return new ClusterError('invalid', `${path} cannot be read: ${messageOf(cause)}`, {
    field: '--context',
    hint: 'leave it out by .dockerignore, or make it readable',
    cause,
  });
}
