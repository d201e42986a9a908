/** Rolling updates under load, and updates that fail. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { DevCluster } from '../support/dev-cluster.ts';
import { startLoad } from '../support/load.ts';
import { until } from '../support/until.ts';

let cluster: DevCluster;
let status: Status;

beforeAll(async () => {
  cluster = await DevCluster.up();
  status = await cluster.status();
  await cluster.load('crash:1');
  await cluster.must(
    'service',
    'create',
    '--name',
    'web',
    '--replicas',
    '6',
    '-p',
    '8080:80',
    '--quiet',
    '--update-parallelism',
    '2',
    '--update-monitor',
    '2s',
    'web:1',
  );
});
afterAll(() => cluster?.clean());

async function versions(): Promise<readonly string[]> {
  return (await cluster.running('web')).map((task) => task.Image).sort();
}

describe.each([
  ['start-first', true],
  ['start-first', false],
  ['stop-first', true],
  ['stop-first', false],
] as const)('a %s update with keep-alive %s', (order, keepAlive) => {
  it('replaces 6 replicas by twos while 50 connections load one host, without a failed request', async () => {
    const [from, to] = (await versions())[0] === 'web:1' ? ['1', '2'] : ['2', '1'];
    const load = startLoad({ url: `http://${status.hosts[0]?.address}:8080/?ms=50`, connections: 50, keepAlive });
    await until('load is on', 10_000, () => load.answered() > 200);
    const said = await cluster.covey('service', 'update', '--image', `web:${to}`, '--update-order', order, 'web');
    const result = await load.stop();
    expect(said.code, said.err).toBe(0);
    expect(result.failures).toEqual([]);
    expect(result.failed).toBe(0);
    expect(result.versions.get(from ?? '')).toBeGreaterThan(0);
    expect(result.versions.get(to ?? '')).toBeGreaterThan(0);
    expect(await versions()).toEqual(Array.from({ length: 6 }, () => `web:${to}`));
  });
});

it('pauses at the first failure of an image that crashes: at most parallelism − 1 more, exit code 1', async () => {
  const before = (await versions())[0];
  const said = await cluster.covey('service', 'update', '--image', 'crash:1', '--update-order', 'stop-first', 'web');
  expect(said.code, said.err).toBe(1);
  expect(said.err).toMatch(/paused.*task web\.\d/);
  const old = (await cluster.tasks('web')).filter(
    (task) => task.Image === before && task.CurrentState.startsWith('Running'),
  );
  expect(old.length).toBeGreaterThanOrEqual(4);
  expect(old.length).toBeLessThanOrEqual(5);
  await cluster.must('service', 'update', '--image', before ?? '', '--quiet', 'web');
  await cluster.untilRunning('web', 6, 60_000);
});

it('rolls back by itself when told to, and exits with 3', async () => {
  const before = await versions();
  const said = await cluster.covey(
    'service',
    'update',
    '--image',
    'crash:1',
    '--update-failure-action',
    'rollback',
    'web',
  );
  expect(said.code, said.err).toBe(3);
  expect(await versions()).toEqual(before);
});
