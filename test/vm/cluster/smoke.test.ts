/** A whole cluster on Debian's kernel and pure cgroup v2: two hosts, a service on both, one of its replicas killed. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Status } from '../../../deploy/dev/status.ts';
import { DevCluster } from '../../support/dev-cluster.ts';
import { ask } from '../../support/load.ts';
import { until } from '../../support/until.ts';

/** Ten times as long in test/vm. */
const SLOWLY_MS = 60_000;

let cluster: DevCluster;
let status: Status;
beforeAll(async () => {
  cluster = await DevCluster.up('--hosts', '2', '--timeout', '600');
  status = await cluster.status();
});
afterAll(() => cluster?.clean());

/** Waits until each host answers by `count` replicas. */
async function untilHeard(count: number): Promise<void> {
  for (const host of status.hosts) {
    const heard = new Set<string>();
    await until(`${count} replicas answer on ${host.name}`, SLOWLY_MS, async () => {
      heard.add((await ask(`http://${host.address}:8080/`)).hostname);
      return heard.size === count;
    });
  }
}

it('runs a service with a replica on each host and answers by both on every host', async () => {
  await cluster.must('service', 'create', '--detach', '--name', 'web', '--replicas', '2', '-p', '8080:80', 'web:1');
  const tasks = await cluster.untilRunning('web', 2, SLOWLY_MS);
  expect(new Set(tasks.map((task) => task.Node)).size).toBe(2);
  await untilHeard(2);
});

it('replaces a replica whose process was killed, which then answers', async () => {
  const before = await cluster.pids('web');
  const [[killed, pid] = ['', 0]] = before;
  process.kill(pid, 'SIGKILL');
  await until('another task runs in its place', SLOWLY_MS, async () => {
    const after = await cluster.pids('web');
    return after.size === 2 && !after.has(killed);
  });
  await untilHeard(2);
});

it('places and serves over a cable that delays and loses packets', async () => {
  const [far] = status.hosts;
  const onFar = (...words: readonly string[]) => cluster.door('exec', far?.name ?? '', '--', ...words);
  await onFar('tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'netem', 'delay', '80ms', '20ms', 'loss', '3%');
  await cluster.must('service', 'scale', '--detach', 'web=4');
  const tasks = await cluster.untilRunning('web', 4, SLOWLY_MS);
  expect(tasks.filter((task) => task.Node === far?.name)).toHaveLength(2);
  await untilHeard(4);
  await onFar('tc', 'qdisc', 'del', 'dev', 'eth0', 'root');
});
