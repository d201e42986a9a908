/**
 * Compresses the files of logs that the shims have put aside. The shim never does: it must stay small, and its container
 * would wait.
 *
 * A file becomes `.gz.new`, is synced, renamed to `.gz`, and only then the plain one goes; a crash in between leaves one
 * of them whole. The shim removes old files in the meantime, the plain one first: whoever finds the plain one gone
 * although the compressed one has just been put in place removes that too.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';
import type { Clock } from '../../common/clock.ts';
import type { Log } from '../../common/log.ts';
import type { Container, Runtime } from '../runtime/runtime.ts';
import { asideFiles, compressedPath, draftPath } from './files.ts';

/** The logs are looked at so often: a file put aside waits as long. */
export const COMPRESS_EVERY_MS = 30_000;
/** Most of the gain for a fraction of the time: text shrinks to a tenth. */
const LEVEL = constants.Z_BEST_SPEED;

export interface CompressorTools {
  readonly runtime: Pick<Runtime, 'list'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Compresses until the signal, beginning with what was put aside while no agent was there. */
export async function compressLogs(tools: CompressorTools, signal: AbortSignal): Promise<void> {
  const { runtime, clock, log } = tools;
  /** The inode of each log's newest file when it was last looked at: as long as it stays nothing was put aside. */
  let known = new Map<string, number>();
  for (;;) {
    try {
      known = await compressAll(
        (await runtime.list(signal)).filter((each) => each.compressesLog),
        known,
        tools,
        signal,
      );
    } catch (cause) {
      signal.throwIfAborted();
      log.warn({ cause }, 'no log was compressed');
    }
    await clock.sleep(COMPRESS_EVERY_MS, signal);
  }
}

async function compressAll(
  containers: readonly Container[],
  known: ReadonlyMap<string, number>,
  { log }: Pick<CompressorTools, 'log'>,
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  for (const container of containers) {
    const inode = await inodeOf(container);
    try {
      if (inode === undefined || known.get(container.id) !== inode) await compressAside(container.logPath, signal);
      if (inode !== undefined) seen.set(container.id, inode);
    } catch (cause) {
      signal.throwIfAborted();
      log.warn({ containerId: container.id, cause }, 'a log was not compressed');
    }
  }
  return seen;
}

/** Compresses every file of this log that was put aside, oldest first, one at a time. @param newest  the log's own path */
export async function compressAside(newest: string, signal: AbortSignal): Promise<void> {
  await removeDrafts(newest);
  for (const file of await asideFiles(newest)) {
    signal.throwIfAborted();
    // An older shim gives its files other names at each rotation: they stay as they are.
    if (file.number === undefined || !file.isPlain) continue;
    if (!file.isCompressed && !(await compress(file.path, signal))) continue;
    await settle(file.path);
  }
}

/** False when the shim has removed the file meanwhile. */
async function compress(path: string, signal: AbortSignal): Promise<boolean> {
  const draft = draftPath(path);
  const target = createWriteStream(draft, { mode: 0o640, flush: true });
  try {
    await pipeline(createReadStream(path), createGzip({ level: LEVEL }), target, { signal });
    await rename(draft, compressedPath(path));
    return true;
  } catch (cause) {
    await rm(draft, { force: true });
    const { code, syscall } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && syscall === 'open') return false;
    throw cause;
  }
}

/** The plain file goes; when it has gone already, the shim has dropped it, and its compressed form with it. */
async function settle(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    await rm(compressedPath(path), { force: true });
  }
}

/** What a crash of the agent left half written. */
async function removeDrafts(newest: string): Promise<void> {
  const folder = dirname(newest);
  const names = await readdir(folder).catch(() => []);
  const [start, end] = [`${basename(newest)}.`, draftPath('')];
  for (const name of names) {
    if (name.startsWith(start) && name.endsWith(end)) await rm(join(folder, name), { force: true });
  }
}

async function inodeOf(container: Container): Promise<number | undefined> {
  try {
    return (await stat(container.logPath)).ino;
  } catch {
    return undefined;
  }
}
