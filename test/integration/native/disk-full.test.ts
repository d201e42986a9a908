/** Containers on a disk that becomes full while they live. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { forever, NativeWorld } from '../../support/native-world.ts';
import { TightDisk } from '../../support/tight-disk.ts';

const { SIGKILL } = constants.signals;
let dir: string;
let disk: TightDisk;
let world: NativeWorld;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'covey-tight-'));
  disk = new TightDisk(dir, { mib: 24, kind: 'ext4' });
  const before = process.env.TMPDIR;
  process.env.TMPDIR = join(disk.path, 'tmp');
  mkdirSync(process.env.TMPDIR);
  try {
    world = new NativeWorld();
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
});
afterEach(async () => {
  disk.clear();
  await world?.destroy();
  disk.remove();
  rmSync(dir, { recursive: true });
});

it('tell their end, whatever it is', async () => {
  const killed = await world.started(['sleep']);
  const other = await world.started(['sleep']);
  disk.leaveBytes(0);
  await world.runtime.kill(killed.id, SIGKILL);
  expect(await world.runtime.wait(killed.id, forever)).toMatchObject({ code: null, signal: SIGKILL });
  const again = world.newRuntime();
  try {
    expect(await again.list(forever)).toHaveLength(2);
    await again.kill(other.id, SIGKILL);
    expect(await again.wait(other.id, forever)).toMatchObject({ signal: SIGKILL });
    await again.remove(killed.id);
    expect((await again.list(forever)).map(({ id }) => id)).toEqual([other.id]);
  } finally {
    again.close();
  }
});

it('are refused with the reason when there is no room to make them, and leave nothing', async () => {
  const { container } = await world.ran(['exit', '0']);
  await world.runtime.remove(container.id);
  disk.leaveBytes(0);
  await expect(world.started(['sleep'])).rejects.toMatchObject({
    code: 'exhausted',
    message: expect.stringMatching(/no space left|ENOSPC/),
  });
  expect(await world.runtime.list(forever)).toEqual([]);
  disk.clear();
  expect((await world.ran(['exit', '3'])).exit.code).toBe(3);
});
