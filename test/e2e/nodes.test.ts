/** Nodes that are paused, labelled, removed or leave, and an etcd that stands still: what goes on meanwhile. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { DevCluster, isAlive, say, type TaskRow } from '../support/dev-cluster.ts';
import { startLoad } from '../support/load.ts';
import { throughout, until } from '../support/until.ts';

const CGROUPS = '/sys/fs/cgroup';
const AGENT = 'dist/agent/main.js';

let cluster: DevCluster;
let status: Status;

beforeAll(async () => {
  cluster = await DevCluster.up('--hosts', '4');
  status = await cluster.status();
  await cluster.must('service', 'create', '--name', 'web', '--replicas', '4', '-p', '8080:80', '--quiet', 'web:1');
});
afterAll(() => cluster?.clean());

async function on(node: string): Promise<readonly TaskRow[]> {
  return (await cluster.running('web')).filter((task) => task.Node === node);
}

const host = (name: string): Status['hosts'][number] => {
  const found = status.hosts.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no host ${name}`);
  return found;
};

it('goes on serving while etcd stands still for 10 s, and takes changes again afterwards', async () => {
  const pids = await cluster.pids('web');
  const etcd = status.etcd[0]?.pid ?? 0;
  const load = startLoad({ url: `http://${host('n1').address}:8080/?ms=50`, connections: 10, keepAlive: false });
  process.kill(etcd, 'SIGSTOP');
  try {
    await throughout('every container runs on', 10_000, async () => [...pids.values()].every(isAlive));
  } finally {
    process.kill(etcd, 'SIGCONT');
  }
  const { failures, answered } = await load.stop();
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(100);
  await until('the cluster is well', 30_000, async () => (await cluster.covey('cluster', 'info')).code === 0);
  await until(
    'all nodes are ready',
    30_000,
    async () => (await cluster.must('node', 'ls')).match(/Ready/g)?.length === 4,
  );
  expect(await cluster.pids('web')).toEqual(pids);
  expect((await cluster.covey('service', 'scale', 'web=5')).code).toBe(0);
  expect((await cluster.covey('service', 'scale', 'web=4')).code).toBe(0);
});

it('tells what takes room on its disks, and what of it may go', async () => {
  const said = await cluster.must('system', 'df', '--format', 'json');
  const rows = said
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
  for (const node of ['n1', 'n2', 'n3', 'n4']) {
    expect(rows).toContainEqual(expect.objectContaining({ Node: node, Type: 'Images' }));
  }
  expect(await cluster.must('system', 'df', '-v', '--node', 'n1')).toMatch(/^n1 +\S+ +\S+B +\S+B +\d+%$/m);
  const before = await cluster.pids('web');
  await cluster.must('create', '--name', 'never', '--node', 'n2', 'web:1');
  const plan = await cluster.must('system', 'prune', '--plan', '--node', 'n2');
  expect(plan).toMatch(/^n2: container never 0B$/m);
  expect(await cluster.must('system', 'df', '-v', '--node', 'n2')).toMatch(/^n2 +container +never +0B +.* +by prune$/m);
  expect(await cluster.must('system', 'prune', '--plan')).toMatch(/^Total reclaimable space: /m);
  expect(await cluster.must('system', 'prune', '--force')).toMatch(/^Total reclaimed space: /m);
  expect(await cluster.pids('web')).toEqual(before);
  expect(await cluster.must('ps', '-a', '-q')).toBe('');
  const unknown = await cluster.covey('system', 'df', '--node', 'n9');
  expect(unknown).toMatchObject({ code: 1, err: expect.stringContaining('n9') });
});

it('leaves a paused node its tasks and gives it no more', async () => {
  const before = await on('n1');
  await cluster.must('node', 'update', '--availability', 'pause', 'n1');
  expect(await cluster.must('node', 'ls')).toMatch(/n1 +Ready +Pause/);
  await cluster.must('service', 'scale', 'web=8');
  expect((await on('n1')).map((task) => task.ID)).toEqual(before.map((task) => task.ID));
  await cluster.must('node', 'update', '--availability', 'active', 'n1');
  await cluster.must('service', 'scale', 'web=4');
});

it('gives tasks to nodes with a label only, and says who refuses why', async () => {
  await cluster.must('node', 'update', '--label-add', 'disk=fast', 'n3');
  const fast = ['--name', 'fast', '--replicas', '2', '--constraint', 'node.labels.disk==fast', '--quiet', 'web:1'];
  await cluster.must('service', 'create', ...fast);
  expect((await cluster.running('fast')).map((task) => task.Node)).toEqual(['n3', 'n3']);
  const wider = ['--replicas-max-per-node', '2', '--replicas', '3'];
  const crowded = await cluster.covey('service', 'update', ...wider, 'fast');
  expect(crowded.code, crowded.err).toBe(5);
  expect(crowded.err).toMatch(/n1: .*disk[\s\S]*n3: .*/);
  await cluster.must('service', 'rm', 'fast');
});

it('removes a node by force: its certificate is refused and its containers stop', async () => {
  const pids = (await on('n4')).map((task) => Number(task.Pid));
  expect(pids.length).toBeGreaterThan(0);
  const said = await cluster.covey('node', 'rm', 'n4');
  expect(said).toMatchObject({ code: 1 });
  expect(said.err).toContain('--force');
  await cluster.must('node', 'rm', '--force', 'n4');
  expect(await cluster.must('node', 'ls')).not.toContain('n4');
  await until('its replicas run elsewhere', 30_000, async () => {
    const running = await cluster.running('web');
    return running.length === 4 && running.every((task) => task.Node !== 'n4');
  });
  await until('its containers have stopped', 30_000, () => !pids.some(isAlive));
  await until('the agent says why', 30_000, async () => /removed|revoked|denied/.test(await logOf('n4')));
  expect(await cluster.must('node', 'ls')).not.toContain('n4');
});

it('lets a node leave: its tasks move, nothing of them stays on the host', async () => {
  const pids = (await on('n3')).map((task) => Number(task.Pid));
  expect(pids.length).toBeGreaterThan(0);
  await cluster.door('fail', 'n3', 'agent');
  const cgroup = `covey-${host('n3').netns.split('-')[1]}/n3`;
  const dirs = ['--state-dir', host('n3').stateDir, '--cgroup-parent', cgroup, '--address', host('n3').address];
  const out = await cluster.door('exec', 'n3', '--', process.execPath, AGENT, 'leave', ...dirs);
  const id = /has left the cluster.*covey node rm (\w+)/.exec(out)?.[1] ?? '';
  expect(pids.some(isAlive)).toBe(false);
  expect(existsSync(host('n3').stateDir) ? readdirSync(host('n3').stateDir) : []).toEqual([]);
  const tables = await say('ip', ['netns', 'exec', host('n3').netns, 'nft', 'list', 'tables']);
  expect(tables.out.trim()).toBe('');
  await until('its replicas run elsewhere', 40_000, async () => {
    const running = await cluster.running('web');
    return running.length === 4 && running.every((task) => task.Node !== 'n3');
  });
  await until('it is seen to be gone', 20_000, async () => (await cluster.covey('node', 'rm', id)).code === 0);
  expect(await cluster.must('node', 'ls')).not.toContain(id.slice(0, 12));
  const fresh = `${cgroup}-again`;
  const again = await say(process.execPath, [AGENT, 'leave', ...dirs.with(3, fresh)]);
  expect(again).toMatchObject({ code: 1 });
  expect(again.err).toMatch(/in no cluster.*--force/s);
  const roots = ['', ...readdirSync(CGROUPS)].map((hierarchy) => join(CGROUPS, hierarchy, fresh));
  expect(roots.filter((path) => existsSync(path))).toEqual([]);
});

async function logOf(name: string): Promise<string> {
  return (await say('tail', ['-n', '40', `${cluster.dir}/${name}.log`])).out;
}
