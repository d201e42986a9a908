/** Builds on a disk that is full at whatever step: context, layers, cache, packing, and the manager that takes the image. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { treeEntries } from '../../../agent/image/tree.ts';
import { ClusterError } from '../../../common/errors.ts';
import { tarOf } from '../../../common/oci/tar-writer.ts';
import { BuildWorld } from '../../support/build-world.ts';
import { forever } from '../../support/native-world.ts';
import { TightDisk, untilEnough } from '../../support/tight-disk.ts';

const KIB = 1_024;
let dir: string;
let disk: TightDisk;
let world: BuildWorld;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'covey-tight-'));
  disk = new TightDisk(dir, { mib: 48, kind: 'ext4' });
  mkdirSync(join(disk.path, 'tmp'));
  const before = process.env.TMPDIR;
  process.env.TMPDIR = join(disk.path, 'tmp');
  try {
    world = await BuildWorld.open();
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
  await world.addBase('base:1');
});
afterEach(async () => {
  disk.clear();
  await world?.destroy();
  disk.remove();
  rmSync(dir, { recursive: true });
});

/** Nothing but what steps that ended well have come to. */
async function nothingHalf(where: string): Promise<void> {
  expect(await world.leftovers(), where).toEqual([]);
  expect(readdirSync(world.manager.blobs.incoming), where).toEqual([]);
  expect(
    world.manager.list().map(({ reference }) => reference),
    where,
  ).toEqual(['base:1']);
}

it('says that the disk is full at whatever step of a build that copies, gives the room back, and is done in the end', async () => {
  const folder = join(dir, 'context');
  mkdirSync(join(folder, 'd'), { recursive: true });
  writeFileSync(join(folder, 'f'), randomBytes(150_000));
  writeFileSync(join(folder, 'd', 'g'), '1');
  const context = () => tarOf(treeEntries({ layers: [{ path: folder, idBase: 0 }] }, forever));
  const file = 'FROM base:1\nWORKDIR /w\nCOPY f /w/\nCOPY d /d/\nLABEL a=b\n';
  const { value, failures } = await untilEnough({
    leave: (step) => disk.leaveBytes(step * 28 * KIB),
    work: () => world.buildFrom(context(), file, {}),
    after: nothingHalf,
  });
  expect(failures.length).toBeGreaterThan(10);
  disk.clear();
  const tree = await world.tree(value.digest);
  expect(readdirSync(join(tree, 'w'))).toEqual(['f']);
  expect(readdirSync(join(tree, 'd'))).toEqual(['g']);
});

it('says so too where a command runs, by us or by the command itself', async () => {
  const said: string[] = [];
  for (let free = 0; said.length < 40; free += 128 * KIB) {
    disk.leaveBytes(free);
    try {
      const built = await world.build('FROM base:1\nRUN head -c 300000 /dev/urandom > /one && echo two > /two\n');
      disk.clear();
      expect(readdirSync(await world.tree(built.digest))).toEqual(expect.arrayContaining(['one', 'two']));
      break;
    } catch (error) {
      expect(error).toBeInstanceOf(ClusterError);
      const { code, message, hint } = error as ClusterError;
      said.push(`${free}: ${code} ${message} ${hint}`);
    }
    await nothingHalf(`${free} free`);
  }
  for (const each of said)
    expect(each).toMatch(/: exhausted .*no space left|: invalid [\s\S]*free on this node’s disk/);
  expect(said.length).toBeGreaterThan(2);
});
