import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';

/** Source: linux/magic.h; shared by ext2, ext3 and ext4. */
const EXT_MAGIC = 0xef53;

let world: NativeWorld;
beforeEach(() => {
  world = new NativeWorld();
});
afterEach(() => world.destroy());

const stateDir = (): string => join(world.folder, 'state');

it('has the file system put each container into a place of its own', async () => {
  await world.runtime.list(forever);
  expect(statSync(stateDir()).mode & 0o777).toBe(0o700);
  if (statfsSync(world.folder).type !== EXT_MAGIC) return;
  expect(execFileSync('lsattr', ['-d', stateDir()], { encoding: 'utf8' }).split(' ')[0]).toContain('T');
});

it('removes what a crash has left of removed containers', async () => {
  await world.runtime.list(forever);
  const left = join(stateDir(), '.old-c7');
  mkdirSync(join(left, 'upper', 'deep'), { recursive: true });
  writeFileSync(join(left, 'container.json'), '{"version":1}');
  expect(await world.runtime.list(forever)).toEqual([]);
  expect(readdirSync(stateDir())).toEqual([]);
});

it('removes a tree that others are removing too', async () => {
  const tree = join(world.folder, 'tree');
  for (let width = 0; width < 40; width += 1) mkdirSync(join(tree, `${width}`, 'a', 'b', 'c'), { recursive: true });
  await Promise.all(Array.from({ length: 8 }, () => native().removeTree(tree)));
  expect(existsSync(tree)).toBe(false);
});

it('lists containers while others are removed', async () => {
  const ids = await Promise.all(
    [1, 2, 3, 4].map(async () => await world.runtime.create(world.request(['sleep']), forever)),
  );
  const removed = Promise.all(ids.map(({ id }) => world.runtime.remove(id)));
  const lists = Promise.all(Array.from({ length: 20 }, () => world.runtime.list(forever)));
  await removed;
  await lists;
  expect(readdirSync(stateDir())).toEqual([]);
});

it('removes a container beside the remains of an earlier one of its name', async () => {
  const container = await world.runtime.create(world.request(['sleep']), forever);
  mkdirSync(join(stateDir(), `.old-${container.id}`, 'upper'), { recursive: true });
  await world.runtime.remove(container.id);
  expect(readdirSync(stateDir())).toEqual([]);
});

it('leaves nothing of a folder whose files cannot all be written', async () => {
  const path = join(world.folder, 'half');
  const files = [
    { path: 'a', content: 'one', mode: 0o600 },
    { path: 'a', content: 'again', mode: 0o600 },
  ];
  await expect(native().makeFolder(path, files)).rejects.toMatchObject({ code: 'EEXIST', syscall: 'open', path: 'a' });
  expect(existsSync(path)).toBe(false);
});
