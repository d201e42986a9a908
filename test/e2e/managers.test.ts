/** Two managers on one outside etcd: one leads, any answers, and the lead goes over without a task noticing. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { DevCluster, say, type TaskRow } from '../support/dev-cluster.ts';
import { until } from '../support/until.ts';

interface ClusterInfo {
  readonly Leader: string;
  readonly Managers: readonly { readonly Address: string; readonly Leader: boolean }[];
  readonly Etcd: { readonly Healthy: boolean; readonly Embedded: boolean };
}

let cluster: DevCluster;
let status: Status;
/** Names of the managers at the start. */
let leader: Status['managers'][number];
let follower: Status['managers'][number];

beforeAll(async () => {
  cluster = await DevCluster.up('--managers', '2');
  status = await cluster.status();
  const info = await infoFrom(status.context);
  leader = find((manager) => manager.address === info.Leader);
  follower = find((manager) => manager.address !== info.Leader);
});
afterAll(() => cluster?.clean());

function find(fits: (manager: Status['managers'][number]) => boolean): Status['managers'][number] {
  const found = status.managers.find(fits);
  if (found === undefined) throw new Error(`no such manager in ${JSON.stringify(status.managers)}`);
  return found;
}

/** A context file that knows one manager only. */
function contextOf(manager: Status['managers'][number]): string {
  const file = join(cluster.dir, `${manager.name}-only.json`);
  const context = JSON.parse(readFileSync(status.context, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...context, managers: [manager.address] }), { mode: 0o600 });
  return file;
}

async function infoFrom(context: string): Promise<ClusterInfo> {
  return JSON.parse(await cluster.must('--context', context, 'cluster', 'info', '--format', 'json')) as ClusterInfo;
}

it('has one leader, known to both', async () => {
  for (const manager of [leader, follower]) {
    const info = await infoFrom(contextOf(manager));
    expect(info.Leader).toBe(leader.address);
    expect(info.Managers.map((one) => one.Address).sort()).toEqual(status.managers.map((one) => one.address).sort());
    expect(info.Managers.filter((one) => one.Leader)).toHaveLength(1);
    expect(info.Etcd).toMatchObject({ Healthy: true, Embedded: false });
  }
});

it('gives nothing of the outside etcd to a client without a certificate', async () => {
  const endpoint = status.etcd[0]?.endpoint ?? '';
  expect(endpoint).toMatch(/^https:/);
  const said = await say('curl', ['-sk', '--max-time', '5', '-d', '{"key":"AA=="}', `${endpoint}/v3/kv/range`]);
  expect(said.code).not.toBe(0);
  expect(said.out).toBe('');
});

it('takes images, makes services, tells progress and shows logs through the follower', async () => {
  const context = contextOf(follower);
  await cluster.load('lines:1');
  const web = ['--name', 'web', '--replicas', '6', '--update-parallelism', '2', '--update-monitor', '1s', 'web:1'];
  const said = await cluster.covey('--context', context, 'service', 'create', ...web);
  expect(said.code, said.err).toBe(0);
  expect(said.out).toContain('overall progress: 6 out of 6 tasks');
  expect(said.out).toContain('service web converged');
  await cluster.must('--context', context, 'service', 'create', '--quiet', '--name', 'lines', 'lines:1');
  await until('lines are seen', 20_000, async () =>
    (await cluster.must('--context', context, 'service', 'logs', '--tail', '5', 'lines')).includes('line '),
  );
});

it('goes on under the other manager when the leader dies in the middle of an update', async () => {
  const context = contextOf(follower);
  const lines = await cluster.pids('lines');
  await cluster.must('service', 'update', '--detach', '--image', 'web:2', 'web');
  await until('it has begun', 20_000, async () =>
    (await cluster.running('web')).some((task) => task.Image === 'web:2'),
  );
  await cluster.door('fail', leader.name, 'agent');
  const ask = (...args: readonly string[]) => cluster.must('--context', context, ...args);
  await until('the other leads', 15_000, async () => (await infoFrom(context)).Leader === follower.address);
  await until('the update is completed', 60_000, async () =>
    (await ask('service', 'inspect', 'web')).includes('"State": "completed"'),
  );
  await until('every agent has moved', 20_000, async () => (await ask('node', 'ls')).match(/Ready/g)?.length === 3);
  const tasks = (await ask('service', 'ps', '--format', 'json', 'web'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TaskRow);
  const now = tasks.filter((task) => task.DesiredState === 'Running');
  expect(now.map((task) => task.Image)).toEqual(Array.from({ length: 6 }, () => 'web:2'));
  expect(now.every((task) => task.CurrentState.startsWith('Running'))).toBe(true);
  // Each slot was replaced once: its old task, and its new one.
  const told = tasks.map(({ Name, Image, Node, CurrentState, Error: why }) => [Name, Image, Node, CurrentState, why]);
  expect(tasks, JSON.stringify(told, undefined, 1)).toHaveLength(12);
  const pids = JSON.parse((await ask('service', 'ps', '--format', 'json', 'lines')).split('\n')[0] ?? '{}');
  expect(new Map([[pids.ID, Number(pids.Pid)]])).toEqual(lines);
});

it('takes the old leader back as a follower that answers', async () => {
  await cluster.door('heal', leader.name);
  const context = contextOf(leader);
  const info = await until('it answers', 30_000, () => infoFrom(context));
  expect(info.Leader).toBe(follower.address);
  const said = await cluster.covey('--context', context, 'service', 'scale', 'web=3');
  expect(said.code, said.err).toBe(0);
  expect(await cluster.running('web')).toHaveLength(3);
});
