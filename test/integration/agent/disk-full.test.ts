import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DiskKeeper } from '../../../agent/disk/keeper.ts';
import { SelfTest } from '../../../agent/self-test.ts';
import { AgentState } from '../../../agent/state.ts';
import { systemClock } from '../../../common/clock.ts';
import { noLog } from '../../../common/log.ts';
import { AgentRig, aHeld } from '../../support/agent-rig.ts';
import { aTaskStatus } from '../../support/fixtures.ts';

let dir: string;
let rig: AgentRig;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', dir]);
  rig = await AgentRig.make(join(dir, 'agent'));
  rig.worker.contactGained();
});
afterEach(async () => {
  try {
    await rig.close();
  } finally {
    execFileSync('umount', ['--lazy', dir]);
    await rmdir(dir);
  }
});

function fill(): Promise<void> {
  // As much as there is: the write that fails has filled the disk.
  return writeFile(join(dir, 'ballast'), Buffer.alloc(2 << 20)).catch(() => {});
}

it('says that the disk is full, naming the file, and keeps what it had', async () => {
  const state = new AgentState(join(dir, 'agent'), noLog);
  const held = aHeld('t1');
  await state.keepTask({ held });
  await fill();
  const status = aTaskStatus(held.task, 'running', { message: 'x'.repeat(100_000) });
  await expect(state.keepTask({ held, status })).rejects.toMatchObject({
    code: 'exhausted',
    message: expect.stringContaining('tasks/t1: the disk is full'),
  });
  expect((await new AgentState(join(dir, 'agent'), noLog).load()).tasks).toEqual([{ held }]);
});

it('keeps running what runs, starts nothing new, and goes on when there is space again', async () => {
  await rig.assign(aHeld('t1'));
  expect(rig.last('t1')?.state).toBe('running');
  await fill();
  await rig.assign(aHeld('t1'), aHeld('t2'));
  expect(await rig.running()).toEqual(['t1']);
  expect(rig.last('t2')).toMatchObject({ state: 'ready', message: expect.stringContaining('the disk is full') });
  await rm(join(dir, 'ballast'));
  await rig.pass(1_000);
  expect(await rig.running()).toEqual(['t1', 't2']);
  expect(rig.last('t2')?.state).toBe('running');
});

it('is unfit for new tasks while space is short, with the reason, and fit again afterwards', async () => {
  const marks = { high: 100, low: 100, pressure: 100 };
  const disk = new DiskKeeper({ dir, marks, freeMinBytes: 64 * 1024, sources: [], log: noLog });
  const selfTest = new SelfTest({
    stateDir: dir,
    runtime: rig.runtime,
    network: rig.network,
    clock: systemClock,
    log: noLog,
    disk,
  });
  const { signal } = new AbortController();
  await selfTest.check(signal);
  expect(selfTest.reason).toBe('');
  await fill();
  await selfTest.check(signal);
  expect(selfTest.reason).toContain(`disk-pressure: only 0B free in ${dir}, 65.54kB are needed`);
  await rm(join(dir, 'ballast'));
  await selfTest.check(signal);
  expect(selfTest.reason).toBe('');
});
