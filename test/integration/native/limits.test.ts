/** That what a container may have is what it gets; the network's rates are in integration/network/rate.test.ts. */
import { execFileSync } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { LoopDisk } from '../../support/loop-disk.ts';
import { forever, NativeWorld, outputOf } from '../../support/native-world.ts';
import { until } from '../../support/until.ts';

const { SIGKILL } = constants.signals;
const MIB = 1 << 20;
const CPU_PERIOD_MS = 100;
const CPU_LOOKS_MAX = 3;

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

/** Waits for a line of the container's; what its groups matched. */
async function told(container: Container, line: RegExp, ms: number): Promise<readonly number[]> {
  const match = await until(`container says ${line}`, ms, () => line.exec(outputOf(container)) ?? undefined);
  return match.slice(1).map(Number);
}

describe('memory', () => {
  it('is never more than its limit; who takes more is killed, and the record says why', async () => {
    const { container, exit } = await world.ran(['eat', '64'], { limits: { memoryBytes: 32 * MIB } });
    expect(exit).toMatchObject({ signal: SIGKILL, oomKilled: true });
    const { memory } = await world.runtime.stats(container.id);
    expect(memory.oomKills).toBe(1);
    expect(memory.peakBytes).toBeLessThanOrEqual(32 * MIB);
    expect(memory.peakBytes).toBeGreaterThan(24 * MIB);
  });

  it('of files in /dev/shm counts as well', async () => {
    const { container, exit } = await world.ran(['fill', '/dev/shm/file', '60'], { limits: { memoryBytes: 16 * MIB } });
    expect(exit.oomKilled).toBe(true);
    expect((await world.runtime.stats(container.id)).memory.peakBytes).toBeLessThanOrEqual(16 * MIB);
  });

  it('below its limit is left alone', async () => {
    const { exit, output } = await world.ran(['eat', '16'], { limits: { memoryBytes: 32 * MIB } });
    expect(exit).toMatchObject({ code: 0, oomKilled: false });
    expect(output).toBe('ate 16\n');
  });
});

describe('CPU time', () => {
  /** Little enough to run out also on a busy machine. */
  const QUOTA = 0.1;

  /** Milliseconds used in ten seconds, by the processes themselves and by the cgroup, and between which they should be. */
  async function measured() {
    const container = await world.started(['busy', '2', '10000'], { limits: { nanoCpus: QUOTA * 1e9 } });
    const [own = 0, wall = 0] = await told(container, /cpu=(\d+) wall=(\d+)/, 40_000);
    const { cpu } = await world.runtime.stats(container.id);
    await world.runtime.remove(container.id);
    // Whenever the quota ran out all of it had been used; on a machine with other load it may not have run out each time.
    const least = cpu.throttledPeriods * CPU_PERIOD_MS * QUOTA * 0.95;
    return { throttled: cpu.throttledPeriods, own, counted: cpu.usageNanos / 1e6, least, most: QUOTA * wall * 1.05 };
  }

  it('is the quota of the time that passed, by the cgroup and by the processes themselves', {
    timeout: 120_000,
  }, async () => {
    const seen: object[] = [];
    // A processor that is taken away from a virtual machine looks to it like one that was used.
    while (seen.length < CPU_LOOKS_MAX) {
      const look = await measured();
      const { throttled, own, counted, least, most } = look;
      if (throttled > 10 && Math.min(own, counted) > least && Math.max(own, counted) < most) return;
      seen.push(look);
    }
    throw new Error(`not within 5 %: ${JSON.stringify(seen)}`);
  });
});

describe('processes', () => {
  it('do not outnumber their limit in a fork bomb, which ends as a whole and leaves the host alone', {
    timeout: 330_000,
  }, async () => {
    const container = await world.started(['bomb', '100000'], { limits: { pids: 64 } });
    const counts = await until('the bomb is on its way', 20_000, async () => {
      const { pids } = await world.runtime.stats(container.id);
      return pids.count === 64 && pids;
    });
    expect(counts.limit).toBe(64);
    // Outside, processes are born as ever.
    expect(execFileSync('/bin/echo', ['born'], { encoding: 'utf8' })).toBe('born\n');
    const [born] = await told(container, /born=(\d+)/, 300_000);
    expect(born).toBe(63);
    await world.runtime.kill(container.id, SIGKILL);
    await world.runtime.wait(container.id, AbortSignal.timeout(5_000));
    expect((await world.runtime.stats(container.id)).pids.count).toBe(0);
  });
});

describe('rates of a disk', () => {
  const RATE = 4 * MIB;
  const SIZE_MIB = 8;
  const shortestMs = ((SIZE_MIB * MIB) / RATE) * 1_000 * 0.9;
  let disk: LoopDisk;
  let onDisk: NativeWorld;
  beforeAll(() => {
    disk = new LoopDisk(world.folder, { mib: 64 });
    onDisk = new NativeWorld({ stateDir: join(disk.path, 'state') });
  });
  afterAll(async () => {
    for (const { id } of await onDisk.runtime.list(forever)) await onDisk.runtime.remove(id);
    await onDisk.destroy();
    disk.remove();
  });

  it.each(['Write', 'Read'] as const)('hold for each: %s', async (kind) => {
    const { id } = await onDisk.runtime.create(onDisk.request(['direct', '/file', String(SIZE_MIB)]), forever);
    const throttle = { [`throttle${kind}BpsDevice`]: [{ ...disk.device, rate: RATE }] };
    await onDisk.runtime.update(id, { blockIO: throttle });
    const container = await onDisk.runtime.start(id, forever);
    const [writeMs = 0, readMs = 0] = await told(container, /write=(\d+) read=(\d+)/, 30_000);
    const [held, free] = kind === 'Write' ? [writeMs, readMs] : [readMs, writeMs];
    // The kernel lends in slices of 100 ms, so a short run may go over by some.
    expect(held).toBeGreaterThan(shortestMs);
    expect(held).toBeLessThan(shortestMs * 3);
    expect(free).toBeLessThan(held);
    const { io } = await onDisk.runtime.stats(id);
    const device = `${disk.device.major}:${disk.device.minor}`;
    const use = io.find((one) => one.device === device);
    expect(kind === 'Write' ? use?.writeBytes : use?.readBytes).toBeGreaterThanOrEqual(SIZE_MIB * MIB);
  });
});

describe('memory that the kernel holds for a container', () => {
  it.each(['pipes', 'sockets'])('counts towards the limit: %s', async (what) => {
    const { container, exit } = await world.ran([what, '48'], { limits: { memoryBytes: 16 * MIB } });
    expect(exit).toMatchObject({ signal: SIGKILL, oomKilled: true });
    expect((await world.runtime.stats(container.id)).memory.peakBytes).toBeLessThanOrEqual(16 * MIB);
  });

  it('for names that do not exist is given up at the limit, or ends who asks', async () => {
    const { id, logPath } = await world.started(['dentries', '60000'], { limits: { memoryBytes: 16 * MIB } });
    const end = await until('all is asked, or it is dead', 30_000, async () => {
      const exit = (await world.runtime.list(forever)).find((one) => one.id === id)?.exit;
      return exit ?? (outputOf({ logPath }).includes('asked') && 'asked');
    });
    const { memory } = await world.runtime.stats(id);
    // What is given up is free only when all of the kernel's readers have gone by, which on a busy machine may be too late.
    if (end !== 'asked') expect(end).toMatchObject({ signal: SIGKILL, oomKilled: true });
    expect(memory.oomKills).toBe(end === 'asked' ? 0 : 1);
    expect(memory.peakBytes).toBeLessThanOrEqual(16 * MIB);
    // Without the limit they take some 30 MiB.
    expect(memory.peakBytes).toBeGreaterThan(12 * MIB);
    await world.runtime.remove(id);
  });
});
