/** Whatever dies, the service goes on. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { DevCluster, isAlive } from '../support/dev-cluster.ts';
import { startLoad } from '../support/load.ts';
import { throughout, until } from '../support/until.ts';

let cluster: DevCluster;
let status: Status;

beforeAll(async () => {
  cluster = await DevCluster.up();
  status = await cluster.status();
  await cluster.load('lines:1');
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
    '--restart-delay',
    '0s',
    '--update-parallelism',
    '2',
    '--update-monitor',
    '2s',
    'web:1',
  );
});
afterAll(() => cluster?.clean());

it('replaces a container that was killed', async () => {
  const [victim] = [...(await cluster.pids('web')).entries()];
  process.kill(victim?.[1] ?? 0, 'SIGKILL');
  await until('its task has failed with 137', 20_000, async () =>
    (await cluster.tasks('web')).find(
      (task) => task.ID === victim?.[0] && task.CurrentState.startsWith('Failed') && task.ExitCode === '137',
    ),
  );
  await cluster.untilRunning('web', 6, 20_000);
});

it('keeps containers, tasks and every line of log when an agent is killed', async () => {
  await cluster.must('service', 'create', '--name', 'lines', '--constraint', 'node.hostname==n1', '--quiet', 'lines:1');
  const before = await cluster.pids('web');
  const agent = status.hosts[0]?.agentPid ?? 0;
  process.kill(agent, 'SIGKILL');
  await until('the agent is back', 30_000, async () => {
    const pid = (await cluster.status()).hosts[0]?.agentPid;
    return pid !== null && pid !== agent;
  });
  await until('all nodes are ready', 30_000, async () => !(await cluster.must('node', 'ls')).includes('Unknown'));
  expect(await cluster.pids('web')).toEqual(before);
  const count = async () => (await cluster.must('service', 'logs', '--tail', '1', 'lines')).match(/\| .*?(\d+)/)?.[1];
  await until('lines are written again', 30_000, async () => Number(await count()) > 3_000);
  const numbers = (await cluster.must('service', 'logs', 'lines'))
    .split('\n')
    .flatMap((line) => /\| \D*(\d+)/.exec(line)?.[1] ?? [])
    .map(Number);
  const first = numbers[0] ?? 0;
  expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => first + i));
  expect(numbers.length).toBeGreaterThan(3_000);
  await cluster.must('service', 'rm', 'lines');
});

it('ends an update completely although the manager is killed in the middle of it', async () => {
  await cluster.must('service', 'update', '--detach', '--image', 'web:2', 'web');
  await until('it has begun', 20_000, async () =>
    (await cluster.running('web')).some((task) => task.Image === 'web:2'),
  );
  process.kill(status.managers[0]?.pid ?? 0, 'SIGKILL');
  await until('all run the new version', 90_000, async () => {
    const running = await cluster.running('web');
    return running.length === 6 && running.every((task) => task.Image === 'web:2');
  });
  await until('the update is completed', 30_000, async () =>
    (await cluster.must('service', 'inspect', 'web')).includes('"State": "completed"'),
  );
});

it('loses nothing when etcd is killed', async () => {
  const before = await cluster.pids('web');
  const [etcd] = (await cluster.status()).etcd;
  process.kill(etcd?.pid ?? 0, 'SIGKILL');
  await until('the manager answers again', 30_000, async () => (await cluster.covey('cluster', 'info')).code === 0);
  expect(await cluster.pids('web')).toEqual(before);
  expect((await cluster.covey('service', 'scale', 'web=7')).code).toBe(0);
  expect((await cluster.covey('service', 'scale', 'web=6')).code).toBe(0);
});

it('restarts nothing when a host is silent for 8 s', async () => {
  const before = await cluster.pids('web');
  await cluster.door('fail', 'n3', 'link');
  await throughout('every container runs on', 8_000, async () => [...before.values()].every(isAlive));
  await cluster.door('heal', 'n3');
  await until('all nodes are ready', 30_000, async () => !/Unknown|Down/.test(await cluster.must('node', 'ls')));
  expect(await cluster.pids('web')).toEqual(before);
});

it('runs a lost host’s replicas elsewhere within 25 s, and moves nothing when it comes back', async () => {
  const load = startLoad({ url: `http://${status.hosts[0]?.address}:8080/?ms=50`, connections: 4, keepAlive: false });
  const at = Date.now();
  await cluster.door('fail', 'n2', 'host');
  await until('six replicas run on the other hosts', 25_000, async () => {
    const running = await cluster.running('web');
    return running.length === 6 && running.every((task) => task.Node !== 'n2');
  });
  expect(Date.now() - at).toBeLessThan(25_000);
  await load.stop();
  const before = await cluster.pids('web');
  await cluster.door('heal', 'n2');
  await until('n2 is ready', 30_000, async () => /n2 +Ready/.test(await cluster.must('node', 'ls')));
  await throughout('nothing moves', 5_000, async () => {
    const now = await cluster.pids('web');
    return [...before].every(([id, pid]) => now.get(id) === pid) && now.size === 6;
  });
});

it('stops the surplus of a host that was only cut off', async () => {
  const cut = (await cluster.running('web')).filter((task) => task.Node === 'n3').map((task) => Number(task.Pid));
  expect(cut.length).toBeGreaterThan(0);
  await cluster.door('fail', 'n3', 'link');
  await until('six replicas run on the other hosts', 25_000, async () => {
    const running = await cluster.running('web');
    return running.length === 6 && running.every((task) => task.Node !== 'n3');
  });
  expect(cut.every(isAlive)).toBe(true);
  const before = await cluster.pids('web');
  await cluster.door('heal', 'n3');
  await until('the surplus has stopped', 30_000, () => !cut.some(isAlive));
  expect(await cluster.pids('web')).toEqual(before);
});
