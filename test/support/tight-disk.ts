/** A disk in memory of a test's own, of which the test says how much is free: full at whatever step it wants. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ClusterError } from '../../common/errors.ts';
import { LoopDisk } from './loop-disk.ts';

/** tmpfs gives whole pages. */
export const PAGE_BYTES = 4096;
/** More than any test needs; without it a disk that is never enough would be a loop without an end. */
const TRIES_MAX = 400;

export interface TightDiskOptions {
  readonly mib: number;
  /** Default: tmpfs, the quickest; ext4 also holds the layers of containers. */
  readonly kind?: 'tmpfs' | 'ext4';
  /** How many files, folders and links a tmpfs can have. */
  readonly files?: number;
}

export class TightDisk {
  /** Where it is mounted. */
  readonly path: string;
  readonly #ballast: string;
  readonly #unmount: () => void;

  constructor(folder: string, { mib, kind = 'tmpfs', files = 4_000 }: TightDiskOptions) {
    if (kind === 'ext4') {
      const disk = new LoopDisk(folder, { mib, make: ['-m', '0', '-O', '^has_journal'] });
      this.path = disk.path;
      this.#unmount = () => disk.remove();
    } else {
      const path = join(folder, 'tight');
      mkdirSync(path);
      const options = `size=${mib}m,nr_inodes=${files},mode=0700`;
      execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'covey-tight', path]);
      this.path = path;
      this.#unmount = () => {
        execFileSync('umount', ['--lazy', path]);
        rmSync(path, { recursive: true });
      };
    }
    this.#ballast = join(this.path, 'ballast');
  }

  /** So many bytes are free from now on, to a page. */
  leaveBytes(bytes: number): void {
    this.clear();
    mkdirSync(this.#ballast);
    const file = openSync(join(this.#ballast, 'bulk'), 'wx');
    try {
      // To its last byte, then some of it given back: what a file takes besides its bytes is for the file system to know.
      const size = filled(file);
      this.#fillCrumbs();
      ftruncateSync(file, Math.max(size - bytes, 0));
    } finally {
      closeSync(file);
    }
  }

  /** Room for a small file or two is left where a large one cannot grow. */
  #fillCrumbs(): void {
    for (let crumb = 0; ; crumb += 1) {
      const path = join(this.#ballast, `crumb-${crumb}`);
      try {
        writeFileSync(path, 'x', { flush: true });
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'ENOSPC') throw cause;
        rmSync(path, { force: true });
        return;
      }
    }
  }

  /** So many files can be made from now on. */
  leaveFiles(count: number): void {
    this.clear();
    mkdirSync(this.#ballast);
    for (let left = statfsSync(this.path).ffree; left > count; left -= 1)
      writeFileSync(join(this.#ballast, String(left)), '');
  }

  /** All of it is free but what others have written. */
  clear(): void {
    rmSync(this.#ballast, { recursive: true, force: true });
  }

  remove(): void {
    this.#unmount();
  }
}

/** Writes as much as there is room for; its bytes. */
function filled(file: number): number {
  let size = 0;
  for (;;) {
    const before = size;
    size = filledOnce(file, size);
    // What ext4 kept back for the file's own blocks is free again once they are on the disk.
    fsyncSync(file);
    if (size === before) return size;
  }
}

function filledOnce(file: number, from: number): number {
  const zeros = Buffer.alloc(2 ** 20);
  for (let size = from; ; ) {
    try {
      size += writeSync(file, zeros);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') return size;
      throw cause;
    }
  }
}

/** What is tried on a disk that grows. */
export interface Trial<T> {
  /** Makes room; more with each step, from 0. */
  readonly leave: (step: number) => void;
  readonly work: () => Promise<T>;
  /** Looks at what a failure has left. */
  readonly after: (where: string) => Promise<void>;
}

/**
 * Tries with ever more room until it succeeds. Each failure has to say that the disk is full, what could not be written, and what
 * to do. Gives what it came to, and the messages of the failures.
 */
export async function untilEnough<T>({ leave, work, after }: Trial<T>): Promise<{
  readonly value: T;
  readonly failures: readonly string[];
}> {
  const failures: string[] = [];
  while (failures.length < TRIES_MAX) {
    const where = `step ${failures.length}`;
    leave(failures.length);
    try {
      return { value: await work(), failures };
    } catch (error) {
      expect(error, where).toBeInstanceOf(ClusterError);
      const { code, message, hint } = error as ClusterError;
      expect({ code, hint, message }, where).toEqual({
        code: 'exhausted',
        hint: expect.stringContaining('free space'),
        message: expect.stringMatching(/\w.* cannot be written: no space left on the disk$/),
      });
      failures.push(message);
    }
    await after(where);
  }
  return expect.fail(`not enough after ${failures.length} tries: ${failures.at(-1)}`);
}
