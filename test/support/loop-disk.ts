/** A disk of a test's own: a file as block device with a file system, mounted; gone with `remove`. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface LoopDiskOptions {
  readonly mib: number;
  /** default: ext4. */
  readonly kind?: 'ext4' | 'xfs';
  /** Words for the mkfs of its kind. */
  readonly make?: readonly string[];
  /** Options for mount. */
  readonly mount?: readonly string[];
}

export class LoopDisk {
  /** Where it is mounted. */
  readonly path: string;
  readonly #image: string;

  constructor(folder: string, { mib, kind = 'ext4', make = [], mount = [] }: LoopDiskOptions) {
    this.#image = join(folder, 'disk.img');
    this.path = join(folder, 'disk');
    mkdirSync(this.path);
    writeFileSync(this.#image, '');
    truncateSync(this.#image, mib * 2 ** 20);
    execFileSync(`mkfs.${kind}`, ['-q', ...make, this.#image], { stdio: 'pipe' });
    execFileSync('mount', ['-o', ['loop', ...mount].join(','), this.#image, this.path], { stdio: 'pipe' });
  }

  /** Of the block device. */
  get device(): { readonly major: number; readonly minor: number } {
    const { dev } = statSync(this.path);
    return { major: (dev >> 8) & 0xfff, minor: (dev & 0xff) | ((dev >> 12) & 0xfff00) };
  }

  remove(): void {
    execFileSync('umount', [this.path], { stdio: 'pipe' });
    rmSync(this.path, { recursive: true });
    rmSync(this.#image);
  }
}
