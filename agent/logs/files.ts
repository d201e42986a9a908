/**
 * The files of one log. The newest has the log's own name; the shim puts a full one aside as `.00000001`, `.00000002`, …
 * for good, and the agent may replace one of those by its compressed form, `.00000001.gz` (compressor.ts). Older shims
 * renamed all files at each rotation: `.1` is the newest of those put aside, `.2` the one before.
 */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** One file of a log that was put aside. */
export interface AsideFile {
  /** Without `.gz`. */
  readonly path: string;
  /** Grows with time; undefined with the names of older shims. */
  readonly number: number | undefined;
  /** There is a plain file; it is read although a compressed one is there too. */
  readonly isPlain: boolean;
  readonly isCompressed: boolean;
}

const ASIDE = /^\.(\d{8,}|\d{1,2})(\.gz)?$/;
const AGE_DIGITS_MAX = 2;

/** The compressed form of a file. */
export function compressedPath(path: string): string {
  return `${path}.gz`;
}

/** A compressed file that is being written; one that a crash left is nobody's. */
export function draftPath(path: string): string {
  return `${path}.gz.new`;
}

/** The files put aside, oldest first; empty when there is no such log. @param newest  the log's own path */
export async function asideFiles(newest: string): Promise<readonly AsideFile[]> {
  const folder = dirname(newest);
  const name = basename(newest);
  const found = new Map<string, { age: number; number: number | undefined; isPlain: boolean; isCompressed: boolean }>();
  for (const entry of await namesIn(folder)) {
    const match = entry.startsWith(name) ? ASIDE.exec(entry.slice(name.length)) : null;
    const digits = match?.[1];
    if (digits === undefined) continue;
    const isAge = digits.length <= AGE_DIGITS_MAX;
    const one = found.get(digits) ?? {
      age: isAge ? Number(digits) : -Number(digits),
      number: isAge ? undefined : Number(digits),
      isPlain: false,
      isCompressed: false,
    };
    found.set(digits, one);
    if (match?.[2] === undefined) one.isPlain = true;
    else one.isCompressed = true;
  }
  return [...found]
    .sort(([, a], [, b]) => b.age - a.age)
    .map(([digits, { age: _age, ...file }]) => ({ path: join(folder, `${name}.${digits}`), ...file }));
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw cause;
  }
}
