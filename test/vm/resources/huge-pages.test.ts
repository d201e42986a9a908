/** Huge pages, on a host that has set some aside. */
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { OciWorld } from '../../support/oci-world.ts';

const { ENOMEM } = constants.errno;
const POOL = '/proc/sys/vm/nr_hugepages';
const PAGE_MIB = 2;

let oci: OciWorld;
let before: string;
beforeAll(() => {
  oci = new OciWorld();
  before = readFileSync(POOL, 'utf8');
  writeFileSync(POOL, '8');
  expect(readFileSync(POOL, 'utf8')).toBe('8\n');
});
afterAll(async () => {
  await oci.destroy();
  writeFileSync(POOL, before);
});

const limited = { linux: { resources: { hugepageLimits: [{ pageSize: '2MB', limit: 4 << 20 }] } } };

it('a container gets as many huge pages as its limit says, and no more', async () => {
  expect((await oci.ran(['huge', '2', `${PAGE_MIB}`], limited)).code).toBe(0);
  expect((await oci.ran(['huge', '3', `${PAGE_MIB}`], limited)).code).toBe(ENOMEM);
  expect((await oci.ran(['huge', '3', `${PAGE_MIB}`])).code).toBe(0);
});

it('a limit of huge pages changes while the container runs, and its statistics name the size', async () => {
  const container = await oci.started(['sleep'], limited);
  const raise = { hugepageLimits: [{ pageSize: '2MB', limit: 6 << 20 }] };
  await native().cgroupUpdate(container.cgroup, JSON.stringify(raise));
  expect((await oci.exec(container, ['/bin/init', 'huge', '3', `${PAGE_MIB}`])).exitCode).toBe(0);
  const { hugePages } = await native().cgroupStats(container.cgroup);
  expect(hugePages).toContainEqual({ pageSize: '2MB', usageBytes: 0, limitHits: expect.any(Number) });
});

it('a page size that the host lacks is refused by its file', async () => {
  const linux = { resources: { hugepageLimits: [{ pageSize: '64KB', limit: 0 }] } };
  await expect(oci.created(['sleep'], { linux })).rejects.toMatchObject({
    message: expect.stringContaining('hugetlb.64KB'),
  });
});
