/**
 * Reads a container's log, with the files that were put aside, and follows it: no line is lost or doubled while the shim
 * rotates and the agent compresses. An open file is known by its inode, one that was compressed meanwhile by its number.
 */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import type { Instant } from '../../common/model/ids.ts';
import { Bell } from '../bell.ts';
import type { LogEntry } from '../runtime/log-line.ts';
import { asideFiles } from './files.ts';
import { LogFile } from './log-file.ts';

/** A shim that rotates while its files are being opened is looked at again, so often at most. */
const LOOKS_MAX = 20;
/** Where no notice comes from the file system, it is looked at so often. */
const POLL_MS = 1_000;

export interface LogQuestion {
  /** The newest file; files.ts says where older ones are. */
  readonly path: string;
  /** The newest lines only; -1 = all. */
  readonly tail: number;
  /** Lines from then on; 0 = all. */
  readonly since: Instant;
  /** Asked at the end of the file: true = more may come, wait for it. */
  readonly isGrowing: () => boolean;
  /** Settled when it grows no more, so that nobody waits to be told; absent: it is found out in a second. */
  readonly over?: Promise<unknown>;
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
  const ring = (): void => bell.ring();
  question.over?.then(ring, ring);
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
  if (file !== undefined && (await inodeOf(path)) === file.inode) return undefined;
  const files = await openAll(path);
  const next = file === undefined ? files.at(-1) : successorAmong(files, file);
  for (const each of files) if (each !== next) await each.close();
  return next;
}

function successorAmong(files: readonly LogFile[], file: LogFile): LogFile | undefined {
  const at = files.findIndex((each) => each.inode === file.inode);
  if (at >= 0) return files[at + 1];
  // Compressed, or so many rotations ago that it is gone: go on with the oldest that came later.
  const own = file.number;
  if (own === undefined) return files[0];
  return files.find((each) => each.number === undefined || each.number > own) ?? files.at(-1);
}

/** All files there are, oldest first, each once although the shim may rotate meanwhile. */
async function openAll(path: string): Promise<readonly LogFile[]> {
  for (let look = 1; ; look += 1) {
    const aside = await asideFiles(path);
    const files: LogFile[] = [];
    for (const each of aside) {
      const file = await LogFile.open(each.path, each.number);
      if (file !== undefined) files.push(file);
    }
    const last = aside.at(-1);
    const newest = await LogFile.open(path, last === undefined ? 1 : last.number && last.number + 1);
    if (newest !== undefined) files.push(newest);
    const after = await asideFiles(path);
    const isSettled = after.at(-1)?.path === last?.path && after.length === aside.length;
    if ((isSettled && isUnique(files)) || look === LOOKS_MAX) return files;
    for (const file of files) await file.close();
  }
}

function isUnique(files: readonly LogFile[]): boolean {
  return new Set(files.map((file) => file.inode)).size === files.length;
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
