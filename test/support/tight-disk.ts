/** A disk in memory of a test's own, of which the test says how much is free: full at whatever step it wants. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ClusterError } from '../../common/errors.ts';

/** tmpfs gives whole pages. */
export const PAGE_BYTES = 4096;
/** More than any test needs; without it a disk that is never enough would be a loop without an end. */
const TRIES_MAX = 400;

export class TightDisk {
  /** Where it is mounted. */
  readonly path: string;
  readonly #ballast: string;

  /** @param files  how many files, folders and links it can have */
  constructor(folder: string, { mib, files = 4_000 }: { readonly mib: number; readonly files?: number }) {
    this.path = join(folder, 'tight');
    this.#ballast = join(this.path, 'ballast');
    mkdirSync(this.path);
    const options = `size=${mib}m,nr_inodes=${files},mode=0700`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'covey-tight', this.path]);
  }

  /** So many bytes are free from now on, to a page. */
  leaveBytes(bytes: number): void {
    this.clear();
    const { bavail, bsize } = statfsSync(this.path);
    writeFileSync(this.#ballast, Buffer.alloc(Math.max(bavail * bsize - bytes, 0)));
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
    execFileSync('umount', ['--lazy', this.path]);
    rmSync(this.path, { recursive: true });
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
