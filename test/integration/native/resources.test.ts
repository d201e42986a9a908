import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { native } from '../../../native/index.ts';
import { LoopDisk } from '../../support/loop-disk.ts';
import { forever, NativeWorld, outputOf, until } from '../../support/native-world.ts';

const { SIGKILL, SIGTERM } = constants.signals;
const MIB = 1 << 20;

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

/** A limit as the kernel has it, in whichever of the two cgroup versions' file this host has. */
function limitOf(container: Container, controller: string, v1: string, v2: string): string {
  const folder = native().cgroupFolder(controller, `${world.cgroupParent}/${container.id}`);
  const isV1 = native().cgroupFolder('memory', '/') !== native().cgroupFolder('pids', '/');
  return readFileSync(`${folder}/${isV1 ? v1 : v2}`, 'utf8').trim();
}

const memoryLimit = (container: Container) => limitOf(container, 'memory', 'memory.limit_in_bytes', 'memory.max');

describe('a paused container', () => {
  it('stands still, and goes on where it was', async () => {
    const container = await world.started(['paced', '1000000', '200']);
    await until(() => outputOf(container).includes('3\n'), 'it counts');
    await world.runtime.pause(container.id);
    const { cpu } = await world.runtime.stats(container.id);
    const said = await settled(container);
    expect((await world.runtime.stats(container.id)).cpu.usageNanos).toBe(cpu.usageNanos);
    await world.runtime.resume(container.id);
    await until(() => outputOf(container).length > said.length, 'it counts on');
    await world.runtime.remove(container.id);
  });

  it('is killed like any other', async () => {
    const container = await world.started(['fork', '5']);
    await world.said(container, 'alive=5');
    await world.runtime.pause(container.id);
    await world.runtime.kill(container.id, SIGKILL);
    expect(await world.runtime.wait(container.id, forever)).toMatchObject({ signal: SIGKILL });
    expect((await world.runtime.stats(container.id)).pids.count).toBe(0);
  });

  it('runs again when it is asked to stop', async () => {
    const container = await world.started(['sleep']);
    await world.said(container, 'ready');
    await world.runtime.pause(container.id);
    const exit = await world.runtime.stop(container.id, { stopSignal: '', graceMs: 10_000 }, forever);
    expect(exit).toMatchObject({ code: 0, signal: null });
  });

  it('gets its signals when it runs again', async () => {
    const container = await world.started(['sleep']);
    await world.said(container, 'ready');
    await world.runtime.pause(container.id);
    await world.runtime.kill(container.id, SIGTERM);
    await world.runtime.resume(container.id);
    expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: 0 });
  });

  it('is still paused for an agent that was away', async () => {
    const container = await world.started(['sleep']);
    await world.runtime.pause(container.id);
    const later = world.newRuntime();
    const states = (await later.list(forever)).filter(({ id }) => id === container.id).map(({ state }) => state);
    expect(states).toEqual(['paused']);
    await later.remove(container.id);
    later.close();
  });

  it('takes no command, and is neither paused twice nor resumed twice', async () => {
    const container = await world.started(['sleep']);
    await expect(world.runtime.resume(container.id)).rejects.toMatchObject({ code: 'conflict' });
    await world.runtime.pause(container.id);
    await expect(world.runtime.pause(container.id)).rejects.toMatchObject({ code: 'conflict' });
    const command = { args: ['/bin/init'], env: [], timeoutMs: 1_000, outputMaxBytes: 10 };
    await expect(world.runtime.exec(container.id, command, forever)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('paused'),
    });
    await world.runtime.remove(container.id);
  });
});

describe('an update of limits', () => {
  it('raises and lowers memory with no swap, whatever the order that takes', async () => {
    const container = await world.started(['sleep'], { limits: { memoryBytes: 32 * MIB } });
    for (const limit of [64 * MIB, 16 * MIB]) {
      await world.runtime.update(container.id, { memory: { limit } });
      expect(memoryLimit(container)).toBe(String(limit));
      expect((await world.runtime.stats(container.id)).memory.limitBytes).toBe(limit);
    }
    await world.runtime.update(container.id, { pids: { limit: 7 }, cpu: { quota: 20_000 } });
    expect((await world.runtime.stats(container.id)).pids.limit).toBe(7);
  });

  it('changes nothing when a part of it is refused', async () => {
    const container = await world.started(['sleep'], { limits: { memoryBytes: 32 * MIB, pids: 50 } });
    const wrong = { memory: { limit: 64 * MIB }, cpu: { cpus: '4000' }, pids: { limit: 7 } };
    await expect(world.runtime.update(container.id, wrong)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('cpuset.cpus'),
    });
    const stats = await world.runtime.stats(container.id);
    expect([stats.memory.limitBytes, stats.pids.limit]).toEqual([32 * MIB, 50]);
  });

  it('refuses a limit below what is in use, when asked to look first', async () => {
    const container = await world.started(['fork', '3'], { limits: { memoryBytes: 32 * MIB } });
    await world.said(container, 'alive=3');
    const update = { memory: { limit: 4_096, checkBeforeUpdate: true } };
    await expect(world.runtime.update(container.id, update)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('memory.limit'),
    });
    expect(memoryLimit(container)).toBe(String(32 * MIB));
  });

  it('of a container that has ended is refused', async () => {
    const { container } = await world.ran(['exit', '0']);
    await expect(world.runtime.update(container.id, { pids: { limit: 5 } })).rejects.toMatchObject({
      code: 'conflict',
    });
  });
});

describe('statistics', () => {
  it('tell user time, throttling, memory and processes apart', async () => {
    const limits = { nanoCpus: 2e8, memoryBytes: 64 * MIB, pids: 20 };
    const container = await world.started(['burn', '300'], { limits });
    await world.said(container, 'burnt');
    const { cpu, memory, pids } = await world.runtime.stats(container.id);
    expect(cpu.usageNanos).toBeGreaterThan(2.5e8);
    expect(cpu.userNanos).toBeGreaterThan(0);
    // v1 counts the parts by ticks, which an emulated processor loses, and the whole exactly.
    const parts = (cpu.userNanos + cpu.systemNanos) / cpu.usageNanos;
    expect(parts).toBeGreaterThan(0.1);
    expect(parts).toBeLessThan(1.9);
    expect(cpu.throttledPeriods).toBeGreaterThan(0);
    expect(cpu.throttledNanos).toBeGreaterThan(0);
    expect(memory.workingSetBytes).toBeGreaterThan(0);
    expect(memory.workingSetBytes).toBeLessThanOrEqual(memory.usageBytes);
    expect(memory.limitBytes).toBe(64 * MIB);
    expect(pids).toEqual({ count: 1, limit: 20 });
    await world.runtime.remove(container.id);
  });

  it('count a process that was killed for memory though it was not the first', async () => {
    const container = await world.started(['nursery', '64'], { limits: { memoryBytes: 32 * MIB } });
    await world.said(container, 'child killed by 9');
    const { memory } = await world.runtime.stats(container.id);
    expect(memory.oomKills).toBe(1);
    expect(memory.limitHits).toBeGreaterThan(0);
    await world.runtime.kill(container.id, SIGTERM);
    expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: 0, oomKilled: true });
  });
});

describe('a size of the writable layer', () => {
  const limits = { storageBytes: MIB };

  it('is refused without a user namespace, in which alone it holds', async () => {
    const request = world.request(['exit', '0'], { limits, template: { userns: 'host' } });
    await expect(world.runtime.create(request, forever)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('user namespace'),
    });
    expect(await world.runtime.list(forever)).not.toContainEqual(expect.objectContaining({ id: request.id }));
  });

  it('is refused where the disk keeps no quotas, with its mount', async () => {
    const disk = new LoopDisk(world.folder, { mib: 16 });
    const onDisk = new NativeWorld({ stateDir: join(disk.path, 'state') });
    try {
      const attempt = onDisk.runtime.create(onDisk.request(['exit', '0'], { limits }), forever);
      await expect(attempt).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringContaining(`ext4 on ${disk.path} enforces no project quotas`),
      });
    } finally {
      await onDisk.destroy();
      disk.remove();
    }
  });
});

/** What it has said, once two looks show the same: the shim may still be writing. */
async function settled(container: Container): Promise<string> {
  let last = outputOf(container);
  await until(() => {
    const before = last;
    last = outputOf(container);
    return last === before;
  }, 'its log stands still');
  return last;
}
