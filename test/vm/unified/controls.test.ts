/** What only a host with pure cgroup v2 can show of limits and statistics. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { LoopDisk } from '../../support/loop-disk.ts';
import { type OciContainer, OciWorld } from '../../support/oci-world.ts';

const MIB = 1 << 20;
const { SIGKILL } = constants.signals;

let oci: OciWorld;
beforeAll(() => {
  oci = new OciWorld();
});
afterAll(() => oci.destroy());

const resources = (wanted: object) => ({ linux: { resources: wanted } });
const fileOf = ({ cgroup }: OciContainer, name: string) =>
  readFileSync(join('/sys/fs/cgroup', cgroup, name), 'utf8').trim();
const update = ({ cgroup }: OciContainer, wanted: object) => native().cgroupUpdate(cgroup, JSON.stringify(wanted));

describe('memory', () => {
  it('above `high` is slowed down and counted, but nobody is killed', async () => {
    const wanted = resources({ memory: { limit: 64 * MIB }, unified: { 'memory.high': `${16 * MIB}` } });
    const container = await oci.started(['eat', '17'], wanted);
    expect(await oci.ended(container)).toBe(0);
    const { memory } = await native().cgroupStats(container.cgroup);
    expect(memory.highHits).toBeGreaterThan(0);
    expect(memory.oomKills).toBe(0);
  });

  it('that is reserved is protected', async () => {
    const container = await oci.started(['sleep'], resources({ memory: { limit: 64 * MIB, reservation: 8 * MIB } }));
    expect(fileOf(container, 'memory.low')).toBe(String(8 * MIB));
  });

  it('running out takes the whole container where it was asked for', async () => {
    const memory = { limit: 32 * MIB };
    const alone = await oci.started(['nursery', '64'], resources({ memory }));
    await oci.said(alone, `child killed by ${SIGKILL}`);
    const wanted = resources({ memory, unified: { 'memory.oom.group': '1' } });
    const together = await oci.started(['nursery', '64'], wanted);
    expect(await oci.ended(together)).toBeNull();
    const record = JSON.parse(readFileSync(join(together.stateDir, 'exit.json'), 'utf8'));
    expect(record).toMatchObject({ signal: SIGKILL, oomKilled: true });
    const { memory: use } = await native().cgroupStats(together.cgroup);
    expect(use.ooms).toBe(1);
    // The kernel counts the one it has chosen once more with its group.
    expect(use.oomKills).toBeGreaterThanOrEqual(2);
  });
});

describe('pressure', () => {
  it('of CPU, memory and disk is told', async () => {
    const container = await oci.started(['burn', '300'], resources({ cpu: { quota: 20_000, period: 100_000 } }));
    await oci.said(container, 'burnt');
    const { cpu, pressure } = await native().cgroupStats(container.cgroup);
    expect(cpu.throttledPeriods).toBeGreaterThan(0);
    expect(pressure.cpu?.some.totalMicros).toBeGreaterThan(0);
    expect(pressure.memory?.full?.totalMicros).toBeGreaterThanOrEqual(0);
    expect(pressure.io?.full?.totalMicros).toBeGreaterThanOrEqual(0);
  });
});

describe('a disk', () => {
  it('is shared out by weight', async () => {
    const container = await oci.started(['sleep'], resources({ blockIO: { weight: 500 } }));
    expect(fileOf(container, 'io.weight')).toBe('default 4950');
  });

  it('keeps its rates when an update of them fails in another part', async () => {
    const disk = new LoopDisk(oci.world.folder, { mib: 16 });
    try {
      const { major, minor } = disk.device;
      const container = await oci.started(['sleep']);
      await update(container, { blockIO: { throttleReadBpsDevice: [{ major, minor, rate: MIB }] } });
      const held = `${major}:${minor} rbps=${MIB} wbps=max riops=max wiops=max`;
      expect(fileOf(container, 'io.max')).toBe(held);
      const wrong = {
        blockIO: { throttleReadBpsDevice: [{ major, minor, rate: 2 * MIB }] },
        hugepageLimits: [{ pageSize: '64KB', limit: 0 }],
      };
      await expect(update(container, wrong)).rejects.toMatchObject({ code: 'ENOENT' });
      expect(fileOf(container, 'io.max')).toBe(held);
      await update(container, { blockIO: { throttleReadBpsDevice: [{ major, minor, rate: 0 }] } });
      expect(fileOf(container, 'io.max')).toBe('');
    } finally {
      disk.remove();
    }
  });
});

describe('CPU time', () => {
  it('is shared out by weight, quota, burst and processors, also while the container runs', async () => {
    const cpu = { shares: 1024, quota: 20_000, period: 100_000, burst: 5_000, cpus: '0', mems: '0' };
    const container = await oci.started(['sleep'], resources({ cpu }));
    const files = ['cpu.weight', 'cpu.max', 'cpu.max.burst', 'cpuset.cpus', 'cpuset.mems'];
    expect(files.map((name) => fileOf(container, name))).toEqual(['100', '20000 100000', '5000', '0', '0']);
    await update(container, { cpu: { shares: 2, quota: 4_000, burst: 2_000, cpus: '0-1' } });
    expect(files.map((name) => fileOf(container, name))).toEqual(['1', '4000 100000', '2000', '0-1', '0']);
  });
});

it('what v2 has no word for is refused by name', async () => {
  for (const [wanted, field] of [
    [{ memory: { kernel: MIB } }, 'memory.kernel'],
    [{ memory: { swappiness: 5 } }, 'memory.swappiness'],
    [{ memory: { disableOOMKiller: true } }, 'memory.disableOOMKiller'],
    [{ cpu: { realtimeRuntime: 5 } }, 'cpu.realtimeRuntime'],
    [{ network: { classID: 5 } }, 'network'],
    [{ unified: { 'cgroup.freeze': '1' } }, 'unified.cgroup.freeze'],
  ] as const) {
    await expect(oci.created(['sleep'], resources(wanted)), field).rejects.toMatchObject({
      message: expect.stringContaining(`linux.resources.${field}`),
    });
  }
});
