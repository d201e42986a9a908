/** A disk of its own that fills up, and the agent's keeper on it. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DiskKeeper, type DiskSource } from '../../../agent/disk/keeper.ts';
import type { Held, Marks } from '../../../agent/disk/marks.ts';
import { noLog } from '../../../common/log.ts';

const MARKS: Marks = { high: 80, low: 70, pressure: 90 };
/** A percent of the disk. */
const PERCENT = 100 * 1024;
const never = new AbortController().signal;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-keeper-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${100 * PERCENT},mode=0700`, 'tmpfs', dir]);
});
afterEach(async () => {
  execFileSync('umount', ['--lazy', dir]);
  await rmdir(dir);
});

/** Files as things of one kind; those whose names begin with `!` are not to go. */
function files(kind: Held['kind'], names: readonly string[]): DiskSource {
  const pathOf = (name: string): string => join(dir, name);
  return {
    async list() {
      const held: Held[] = [];
      for (const [usedAt, name] of names.entries()) {
        const found = await stat(pathOf(name)).catch(() => undefined);
        const worth = name.startsWith('!') ? 'needed' : name.startsWith('?') ? 'asked' : 'spare';
        if (found !== undefined) held.push({ kind, id: name, name, bytes: found.size, usedAt, worth });
      }
      return held;
    },
    async remove(name) {
      await rm(pathOf(name));
      return true;
    },
  };
}

async function fill(name: string, percent: number): Promise<void> {
  await writeFile(join(dir, name), Buffer.alloc(percent * PERCENT, 1));
}

const left = async (...sources: readonly DiskSource[]): Promise<readonly string[]> =>
  (await Promise.all(sources.map((source) => source.list(never)))).flat().map(({ name }) => name);

function keeperOf(...sources: readonly DiskSource[]): DiskKeeper {
  return new DiskKeeper({ dir, marks: MARKS, freeMinBytes: PERCENT, sources, log: noLog });
}

it('makes room above the high mark, down to the low one, in the order of kinds and last use', async () => {
  const images = files('image', ['!base', 'old', 'young']);
  const dead = files('container', ['task', '?mine']);
  const cache = files('build-cache', ['step']);
  for (const name of ['!base', 'old', 'young', 'task', '?mine', 'step']) await fill(name, 12);
  const keeper = keeperOf(cache, images, dead);
  await fill('other', 5);
  expect(await keeper.check(never)).toBe('');
  expect(await left(images, dead, cache)).toHaveLength(6);
  await fill('other', 10);
  expect(await keeper.check(never)).toBe('');
  await expect.poll(() => left(dead, images, cache)).toEqual(['?mine', '!base', 'old', 'young', 'step']);
});

it('tells of pressure while nothing can go, until it is below the high mark again', async () => {
  const images = files('image', ['!base']);
  const keeper = keeperOf(images);
  await fill('!base', 91);
  expect(await keeper.check(never)).toMatch(/^disk-pressure: 91 % of the disk of .* is used, .* free/);
  await fill('!base', 85);
  expect(await keeper.check(never)).toContain('disk-pressure: 85 %');
  await fill('!base', 79);
  expect(await keeper.check(never)).toBe('');
  expect(await left(images)).toEqual(['!base']);
});

it('makes room for what little the agent needs, however large the disk is', async () => {
  const images = files('image', ['old']);
  const keeper = new DiskKeeper({
    dir,
    marks: { high: 100, low: 100, pressure: 100 },
    freeMinBytes: 20 * PERCENT,
    sources: [images],
    log: noLog,
  });
  await fill('old', 30);
  await fill('other', 55);
  expect(await keeper.check(never)).toContain('disk-pressure: only 1.536MB free');
  await expect.poll(() => left(images)).toEqual([]);
  expect(await keeper.check(never)).toBe('');
});

it('goes on when one thing cannot be removed, and says which', async () => {
  const refusing: DiskSource = {
    list: async () => [{ kind: 'container', id: 'c', name: 'c', bytes: 1, usedAt: 0, worth: 'spare' }],
    remove: async () => {
      throw new Error('busy');
    },
  };
  const images = files('image', ['old']);
  await fill('old', 82);
  await keeperOf(refusing, images).makeRoom(never);
  expect(await left(images)).toEqual([]);
});
