/** Files that commands write for their users: on disks that are full, in places where there can be none. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeOut, writeWhole } from '../../../cli/output-file.ts';
import { streamOf } from '../../support/tar.ts';
import { PAGE_BYTES, TightDisk, untilEnough } from '../../support/tight-disk.ts';

const BYTES = randomBytes(30_000);
let dir: string;
let disk: TightDisk;
let file: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-output-'));
  disk = new TightDisk(dir, { mib: 1, files: 50 });
  file = join(disk.path, 'image.tar');
});
afterEach(async () => {
  disk.remove();
  await rm(dir, { recursive: true });
});

const write = (path = file): Promise<void> => writeWhole(streamOf(BYTES, 7_000), path);

describe('a file that a command writes', () => {
  it.each([
    ['where there was none', undefined],
    ['in the place of another', 'what was there'],
  ])('%s is there whole, or not at all, however full the disk is', async (_, before) => {
    if (before !== undefined) writeFileSync(file, before);
    const after = async (where: string): Promise<void> => {
      expect(readdirSync(disk.path).toSorted(), where).toEqual([
        'ballast',
        ...(before === undefined ? [] : ['image.tar']),
      ]);
      if (before !== undefined) expect(readFileSync(file, 'utf8'), where).toBe(before);
    };
    const { failures } = await untilEnough({ leave: (step) => disk.leaveBytes(step * PAGE_BYTES), work: write, after });
    expect(failures.length).toBeGreaterThan(5);
    expect(readFileSync(file).equals(BYTES)).toBe(true);
  });

  it('leaves nothing when its bytes end with an error', async () => {
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield BYTES;
      throw new Error('the manager has gone');
    };
    await expect(writeWhole(broken(), file)).rejects.toThrow('the manager has gone');
    expect(readdirSync(disk.path)).toEqual([]);
  });

  it('is refused where there can be none, naming the flag', async () => {
    await expect(write(join(disk.path, 'none', 'image.tar'))).rejects.toMatchObject({
      code: 'invalid',
      field: '--output',
    });
  });

  it('may be a device, which stays', async () => {
    await write('/dev/null');
    await expect(write('/dev/full')).rejects.toMatchObject({
      code: 'exhausted',
      message: '/dev/full cannot be written: no space left on the disk',
    });
    expect(readdirSync('/dev')).toEqual(expect.arrayContaining(['full', 'null']));
  });
});

describe('standard output', () => {
  it('that a disk takes a part of only is an error, wherever the disk is full', async () => {
    let failed = 0;
    for (let pages = 0; pages <= 8; pages += 1) {
      disk.leaveBytes(pages * PAGE_BYTES);
      const fd = openSync(file, 'w');
      try {
        const isEnough = pages * PAGE_BYTES >= BYTES.length;
        const written = writeOut(streamOf(BYTES, 7_000), fd);
        if (isEnough) await written;
        else
          await expect(written).rejects.toMatchObject({
            code: 'exhausted',
            message: expect.stringContaining('standard output cannot be written'),
          });
        if (!isEnough) failed += 1;
      } finally {
        closeSync(fd);
        rmSync(file);
      }
    }
    expect(failed).toBe(8);
  });

  it('that takes nothing ends a command with its reason and code 1', () => {
    const full = openSync('/dev/full', 'w');
    try {
      const args = ['--import', 'tsx', 'cli/main.ts', '--help'];
      const said = spawnSync(process.execPath, args, { stdio: ['ignore', full, 'pipe'], encoding: 'utf8' });
      expect(said.stderr).toContain('covey: standard output cannot be written: ENOSPC');
      expect(said.status).toBe(1);
    } finally {
      closeSync(full);
    }
  });
});
