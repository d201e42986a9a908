/** An etcd that is full: users are told, the cluster serves on, and room is made without anybody's help. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DevCluster, type Said } from '../support/dev-cluster.ts';
import { startLoad } from '../support/load.ts';
import { until } from '../support/until.ts';

/** The supervisor hands its environment on to the manager, which reads its settings from there too. */
const QUOTA = 'COVEY_MANAGER_ETCD_QUOTA_BYTES';
const UPDATES_MAX = 60;

let cluster: DevCluster;

beforeAll(async () => {
  process.env[QUOTA] = String(4 * 1024 * 1024);
  cluster = await DevCluster.up('--hosts', '2');
});
afterAll(async () => {
  delete process.env[QUOTA];
  await cluster?.clean();
});

it('refuses changes while etcd is out of space, serves on, and takes them again by itself', async () => {
  await cluster.must('service', 'create', '--name', 'web', '--replicas', '2', '-p', '8080:80', '--quiet', 'web:1');
  const pids = await cluster.pids('web');
  const file = join(cluster.dir, 'large.env');
  writeFileSync(file, `LARGE=${'x'.repeat(120_000)}\n`);
  const big = ['--name', 'big', '--replicas', '0', '--detach', '--env-file', file];
  await cluster.must('service', 'create', ...big, 'web:1');
  const address = (await cluster.status()).hosts[0]?.address;
  const load = startLoad({ url: `http://${address}:8080/?ms=50`, connections: 4, keepAlive: false });

  // One service written over and over: its history fills the quota.
  const update = (n: number): Promise<Said> =>
    cluster.covey('service', 'update', '--detach', '--env-add', `ROUND=${n}`, 'big');
  let refused: Said | undefined;
  for (let n = 0; n < UPDATES_MAX && refused === undefined; n += 1) {
    const said = await update(n);
    if (said.code !== 0) refused = said;
  }
  expect(refused?.code).toBe(1);
  expect(refused?.err).toMatch(/etcd.*(space|quota)/s);

  await until('changes are taken again', 40_000, async () => (await update(UPDATES_MAX)).code === 0);
  const { failures, answered } = await load.stop();
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(20);
  await until('the cluster is well', 20_000, async () => (await cluster.covey('cluster', 'info')).code === 0);
  expect(await cluster.pids('web')).toEqual(pids);
  const said = await cluster.covey('service', 'scale', 'web=3');
  expect(said.code, said.err).toBe(0);
});
