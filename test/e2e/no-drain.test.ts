/** The counter-proof: the drain is what keeps requests from failing, because without it they do. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DevCluster } from '../support/dev-cluster.ts';
import { startLoad } from '../support/load.ts';
import { until } from '../support/until.ts';

/** The supervisor hands its environment on to the manager, which reads its settings from there too. */
const SWITCHES = { COVEY_TEST_SWITCHES: '1', COVEY_MANAGER_UNSAFE_SKIP_DRAIN: 'true' };

let cluster: DevCluster;

beforeAll(async () => {
  Object.assign(process.env, SWITCHES);
  cluster = await DevCluster.up();
});
afterAll(async () => {
  for (const name of Object.keys(SWITCHES)) delete process.env[name];
  await cluster?.clean();
});

it('fails requests of a rolling update when tasks stop without draining', async () => {
  const rollout = ['--update-parallelism', '2', '--update-monitor', '1s', '--update-order', 'start-first'];
  const web = ['--name', 'web', '--replicas', '6', '-p', '8080:80', '--quiet', ...rollout, 'web:1'];
  await cluster.must('service', 'create', ...web);
  const address = (await cluster.status()).hosts[0]?.address;
  const load = startLoad({ url: `http://${address}:8080/?ms=50`, connections: 50, keepAlive: false });
  await until('load is on', 10_000, () => load.answered() > 200);
  const said = await cluster.covey('service', 'update', '--image', 'web:2', 'web');
  const result = await load.stop();
  expect(said.code, said.err).toBe(0);
  expect(result.versions.get('2')).toBeGreaterThan(0);
  expect(result.failed).toBeGreaterThan(0);
});
