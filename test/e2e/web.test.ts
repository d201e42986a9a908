/** The main job: a web service runs, scales, drains and is reached from everywhere. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { DevCluster, say } from '../support/dev-cluster.ts';
import { ask, startLoad } from '../support/load.ts';
import { until } from '../support/until.ts';

let cluster: DevCluster;
let status: Status;

beforeAll(async () => {
  cluster = await DevCluster.up();
  status = await cluster.status();
  await cluster.must('service', 'create', '--name', 'web', '--replicas', '3', '-p', '8080:80', '--quiet', 'web:1');
});
afterAll(() => cluster?.clean());

/** Tasks of the service by node. */
async function spread(): Promise<readonly number[]> {
  const counts = new Map(status.hosts.map((host) => [host.name, 0]));
  for (const task of await cluster.running('web')) counts.set(task.Node, (counts.get(task.Node) ?? 0) + 1);
  return [...counts.values()];
}

it('answers on every host from the machine, by all replicas, which see the caller’s address', async () => {
  for (const host of status.hosts) {
    const url = `http://${host.address}:8080/`;
    const answers = [];
    for (let i = 0; i < 12; i += 1) answers.push(await ask(url));
    expect(new Set(answers.map((answer) => answer.hostname)).size).toBe(3);
    const machine = host.address.replace(/\d+$/, '1');
    expect(new Set(answers.map((answer) => answer.client.split(':')[0]))).toEqual(new Set([machine]));
  }
});

it('answers inside each host by each host’s address, and the replicas see that host', async () => {
  for (const from of status.hosts) {
    for (const to of status.hosts) {
      const seen = new Set<string>();
      const hostnames = new Set<string>();
      for (let i = 0; i < 9; i += 1) {
        const out = await cluster.door(
          'exec',
          from.name,
          '--',
          'curl',
          '-sS',
          '--max-time',
          '5',
          `http://${to.address}:8080/`,
        );
        seen.add(/client: ([\d.]+)/.exec(out)?.[1] ?? '');
        hostnames.add(/hostname: (.*)/.exec(out)?.[1] ?? '');
      }
      expect(hostnames.size, `${from.name} to ${to.name}`).toBe(3);
      expect(seen, `${from.name} to ${to.name}`).toEqual(new Set([from.address]));
    }
  }
});

it('scales to 10, 2, 0 and 3, spread within one task a node each time', async () => {
  for (const count of [10, 2, 0, 3]) {
    const said = await cluster.covey('service', 'scale', `web=${count}`);
    expect(said.code, said.err).toBe(0);
    expect(await cluster.running('web')).toHaveLength(count);
    const counts = await spread();
    expect(Math.max(...counts) - Math.min(...counts), counts.join(' ')).toBeLessThanOrEqual(1);
  }
});

it('refuses connections to a port that nothing serves any more, at once', async () => {
  await cluster.must('service', 'scale', 'web=0');
  await expect(ask(`http://${status.hosts[0]?.address}:8080/`)).rejects.toThrow(/ECONNREFUSED/);
  await cluster.must('service', 'scale', 'web=3');
});

it('empties a drained node without a failed request, and gives it nothing back', async () => {
  const load = startLoad({ url: `http://${status.hosts[0]?.address}:8080/?ms=50`, connections: 50, keepAlive: true });
  await until('load is on', 10_000, () => load.answered() > 100);
  await cluster.must('node', 'update', '--availability', 'drain', 'n2');
  await until('n2 is empty', 60_000, async () => (await cluster.running('web')).every((task) => task.Node !== 'n2'));
  await cluster.untilRunning('web', 3, 60_000);
  const { failures, answered } = await load.stop();
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(100);
  await cluster.must('service', 'scale', 'web=6');
  expect((await cluster.running('web')).filter((task) => task.Node === 'n2')).toEqual([]);
  await cluster.must('node', 'update', '--availability', 'active', 'n2');
  await cluster.must('service', 'scale', 'web=3');
});

it('says per node why a task cannot run, and exits with 5', async () => {
  const said = await cluster.covey('service', 'create', '--name', 'huge', '--reserve-memory', '900g', 'web:1');
  expect(said.code).toBe(5);
  expect(said.err).toMatch(/n1: .*memory/);
  const [task] = await cluster.tasks('huge');
  expect(task?.Error).toMatch(/insufficient memory/);
  await cluster.must('service', 'rm', 'huge');
});

it('rejects a command that the image does not have, with its path', async () => {
  await cluster.must(
    'service',
    'create',
    '--detach',
    '--name',
    'nocmd',
    '--entrypoint',
    '/bin/none',
    '--restart-condition',
    'none',
    'web:1',
  );
  const task = await until('the task is rejected', 30_000, async () =>
    (await cluster.tasks('nocmd')).find((one) => one.CurrentState.startsWith('Rejected')),
  );
  expect(task.Error).toContain('/bin/none');
  await cluster.must('service', 'rm', 'nocmd');
});

it('refuses a published port that another service has, naming it', async () => {
  const said = await cluster.covey('service', 'create', '--name', 'other', '-p', '8080:80', 'web:1');
  expect(said).toMatchObject({ code: 1 });
  expect(said.err).toContain('"web"');
});

it('gives an unauthenticated local client nothing of etcd', async () => {
  const endpoint = status.etcd[0]?.endpoint ?? '';
  expect(endpoint).toMatch(/^unix:/);
  const said = await say('setpriv', [
    '--reuid',
    '65534',
    '--clear-groups',
    '--',
    'env',
    'ETCDCTL_API=3',
    'etcdctl',
    '--endpoints',
    endpoint,
    '--dial-timeout',
    '1s',
    '--command-timeout',
    '2s',
    'get',
    '',
    '--prefix',
  ]);
  expect(said.code).not.toBe(0);
  expect(said.out).toBe('');
});
