/**
 * Reads a container's log, with the files that were rotated away, and follows it: no line is lost or doubled while the
 * shim rotates. Files are told apart by inode: names move on, open files do not.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import type { Instant } from '../../common/model/ids.ts';
import { Bell } from '../bell.ts';
import { type LogLine, parseLogLine } from '../runtime/log-line.ts';

/** A line whose text keeps every byte, also those that are no UTF-8. */
export interface LogEntry extends Omit<LogLine, 'text'> {
  readonly text: Uint8Array;
}

/** More rotated files than any shim keeps. */
const FILES_MAX = 100;
const CHUNK_BYTES = 64 * 1024;
/** Where no notice comes from the file system, it is looked at so often. */
const POLL_MS = 1_000;
const NEWLINE = 0x0a;

export interface LogQuestion {
  /** The newest file; older ones end in `.1`, `.2`… */
  readonly path: string;
  /** The newest lines only; -1 = all. */
  readonly tail: number;
  /** Lines from then on; 0 = all. */
  readonly since: Instant;
  /** Asked at the end of the file: true = more may come, wait for it. */
  readonly isGrowing: () => boolean;
  readonly clock: Clock;
}

/** Batches of entries in order; ends at the end of the log once it does not grow any more, or with the signal. */
export async function* readLog(question: LogQuestion, signal: AbortSignal): AsyncIterable<readonly LogEntry[]> {
  const { path, tail } = question;
  const isWanted = since(question.since);
  const files = await openAll(path);
  let current = files.at(-1);
  try {
    if (tail >= 0) yield (await lastOf(files, tail, signal)).filter(isWanted);
    else for (const file of files) for await (const entries of file.rest(signal)) yield entries.filter(isWanted);
    for (const file of files.slice(0, -1)) await file.close();
    for await (const next of followers(question, current, signal)) {
      current = next.file;
      yield next.entries.filter(isWanted);
    }
  } finally {
    for (const file of new Set([...files, current])) await file?.close();
  }
}

/** The newest `count` lines, across rotations, oldest first; for a log that is not followed. */
export async function lastLines(path: string, count: number, signal: AbortSignal): Promise<readonly LogEntry[]> {
  const files = await openAll(path);
  try {
    return await lastOf(files, count, signal);
  } finally {
    for (const file of files) await file.close();
  }
}

/** What is written from now on, across rotations. */
async function* followers(
  question: LogQuestion,
  start: LogFile | undefined,
  signal: AbortSignal,
): AsyncIterable<{ readonly file: LogFile; readonly entries: readonly LogEntry[] }> {
  const { path, clock, isGrowing } = question;
  const bell = new Bell();
  const watcher = watchFolder(path, bell);
  const onAbort = (): void => bell.ring();
  signal.addEventListener('abort', onAbort);
  let file = start;
  try {
    while (!signal.aborted) {
      // Asked before reading: what is written after the answer "no" was not to be expected any more.
      const goesOn = isGrowing();
      if (file !== undefined) for await (const entries of file.rest(signal)) yield { file, entries };
      const next = await successor(path, file);
      if (next !== undefined) {
        // The shim may have written to the old file until the moment it was renamed.
        if (file !== undefined) for await (const entries of file.rest(signal)) yield { file, entries };
        await file?.close();
        file = next;
        yield { file, entries: [] };
      } else if (goesOn) {
        await bell.wait(clock, clock.now() + POLL_MS);
      } else {
        return;
      }
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    watcher?.close();
  }
}

function watchFolder(path: string, bell: Bell): FSWatcher | undefined {
  try {
    const watcher = watch(dirname(path), { persistent: false }, () => bell.ring());
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    // Watches are limited by the kernel; polling does as well.
    return undefined;
  }
}

/** The file that came after `file`: undefined when it is still the newest, or when there is none. */
async function successor(path: string, file: LogFile | undefined): Promise<LogFile | undefined> {
  if (file === undefined) return await LogFile.open(path);
  if ((await inodeOf(path)) === file.inode) return undefined;
  const files = await openAll(path);
  const at = files.findIndex((each) => each.inode === file.inode);
  // Not found: so many rotations ago that it is gone; go on with the oldest there is.
  const next = files[at + 1];
  for (const each of files) if (each !== next) await each.close();
  return next;
}

/** All files there are, oldest first, each once although the shim may rotate meanwhile. */
async function openAll(path: string): Promise<readonly LogFile[]> {
  const files: LogFile[] = [];
  for (let number = 0; number < FILES_MAX; number += 1) {
    const file = await LogFile.open(number === 0 ? path : `${path}.${number}`);
    if (file === undefined) {
      if (number === 0) continue;
      break;
    }
    if (files.some((each) => each.inode === file.inode)) await file.close();
    else files.unshift(file);
  }
  return files;
}

async function lastOf(files: readonly LogFile[], tail: number, signal: AbortSignal): Promise<readonly LogEntry[]> {
  let found: readonly LogEntry[] = [];
  // The newest file is read in any case: following goes on at its end.
  for (const file of files.toReversed()) {
    if (found.length >= tail && file !== files.at(-1)) break;
    const entries: LogEntry[] = [];
    for await (const batch of file.rest(signal)) {
      entries.push(...batch);
      if (entries.length > 2 * tail + 1_000) entries.splice(0, entries.length - tail);
    }
    found = [...entries, ...found];
  }
  return tail === 0 ? [] : found.slice(-tail);
}

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch {
    return undefined;
  }
}

/** True for entries from then on. Compared as text: a time without its `Z` is the beginning of every finer one. */
export function since(instant: Instant): (entry: LogEntry) => boolean {
  if (instant <= 0) return () => true;
  const from = new Date(instant).toISOString().slice(0, -1);
  return (entry) => entry.time >= from;
}

/** One open file and how far it was read. */
class LogFile {
  readonly inode: number;
  readonly #handle: FileHandle;
  #position = 0;
  /** The beginning of a line whose end was not there yet. */
  #rest: Buffer = Buffer.alloc(0);
  #isClosed = false;

  private constructor(handle: FileHandle, inode: number) {
    this.#handle = handle;
    this.inode = inode;
  }

  /** Undefined when there is no such file. */
  static async open(path: string): Promise<LogFile | undefined> {
    try {
      const handle = await open(path, 'r');
      return new LogFile(handle, (await handle.stat()).ino);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw cause;
    }
  }

  /** From where the last call ended to the end of the file. */
  async *rest(signal: AbortSignal): AsyncIterable<readonly LogEntry[]> {
    while (!signal.aborted) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const { bytesRead } = await this.#handle.read(chunk, 0, CHUNK_BYTES, this.#position);
      if (bytesRead === 0) return;
      this.#position += bytesRead;
      const entries = this.#take(chunk.subarray(0, bytesRead));
      if (entries.length > 0) yield entries;
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#handle.close();
  }

  #take(chunk: Buffer): readonly LogEntry[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const entries: LogEntry[] = [];
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      // Through Latin-1 each byte comes back as it was.
      const line = parseLogLine(bytes.toString('latin1', from, end));
      if (line !== undefined) entries.push({ ...line, text: Buffer.from(line.text, 'latin1') });
      from = end + 1;
    }
    this.#rest = bytes.subarray(from);
    return entries;
  }
}
