/**
 * With no manager in reach, an agent runs its tasks again by itself, and says so when one is back. With no agent there, the
 * container's own shim does.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { DevCluster, isAlive } from '../support/dev-cluster.ts';
import { until } from '../support/until.ts';

/** A third of the default failoverAfter. */
const ALONE_MS = 5_000;

let cluster: DevCluster;

beforeAll(async () => {
  cluster = await DevCluster.up();
  const flags = ['--replicas', '3', '-p', '8080:80', '--quiet', '--restart-delay', '0s'];
  await cluster.must('service', 'create', '--name', 'web', ...flags, 'web:1');
});
afterEach(() => cluster.door('heal', 'm1'));
afterAll(() => cluster?.clean());

/** The pid of the task's second run; undefined before there is one. */
function secondRun(stateDir: string, taskId: string): number | undefined {
  const folder = join(stateDir, 'containers');
  const id = readdirSync(folder).find((name) => name.startsWith(taskId) && /[.-]2$/.test(name));
  if (id === undefined) return undefined;
  try {
    return (JSON.parse(readFileSync(join(folder, id, 'state.json'), 'utf8')) as { readonly pid: number }).pid;
  } catch {
    // Being written at this moment.
    return undefined;
  }
}

it('starts the next run after a third of failoverAfter, under the same task, and nothing else moves', async () => {
  const before = await cluster.running('web');
  const [victim] = before;
  if (victim === undefined) throw new Error('nothing runs');
  const stateDir = (await cluster.status()).hosts.find((host) => host.name === victim.Node)?.stateDir ?? '';
  const killedAt = Date.now();
  const misses = () => readFileSync(join(cluster.dir, `${victim.Node}.log`), 'utf8').split('"no session"').length;
  const heard = misses();
  await cluster.door('fail', 'm1', 'agent');
  // Of a death that it hears of before the end of its session the agent leaves the rest to the manager.
  await until('its agent has missed the manager', 20_000, () => misses() > heard);
  process.kill(Number(victim.Pid), 'SIGKILL');
  const pid = await until('a second run is there', 30_000, () => Promise.resolve(secondRun(stateDir, victim.ID)));
  expect(Date.now() - killedAt).toBeGreaterThanOrEqual(ALONE_MS);
  expect(isAlive(pid)).toBe(true);
  await cluster.door('heal', 'm1');
  const after = await until('the manager has heard of the second run', 40_000, async () => {
    const said = await cluster.covey('service', 'ps', 'web');
    if (said.code !== 0) return undefined;
    const running = await cluster.running('web');
    return running.find((task) => task.ID === victim.ID)?.Pid === String(pid) ? running : undefined;
  });
  expect(after.map((task) => task.ID).sort()).toEqual(before.map((task) => task.ID).sort());
  for (const task of before.slice(1)) expect(after.find(({ ID }) => ID === task.ID)?.Pid).toBe(task.Pid);
});

it('runs a container again in its place while its agent is away, and the cluster shows that run when it is back', async () => {
  const flags = ['--constraint', 'node.hostname==n2', '--restart-delay', '0s', '--detach'];
  await cluster.must('service', 'create', '--name', 'stays', '-p', '8090:80', ...flags, 'web:1');
  await cluster.must('service', 'create', '--name', 'ends', '--restart-condition', 'none', ...flags, 'web:1');
  const [stays] = await cluster.untilRunning('stays', 1, 20_000);
  const [ends] = await cluster.untilRunning('ends', 1, 20_000);
  if (stays === undefined || ends === undefined) throw new Error('they do not run');
  const host = (await cluster.status()).hosts.find(({ name }) => name === 'n2');
  const folder = (id: string) => {
    const containers = join(host?.stateDir ?? '', 'containers');
    return join(containers, readdirSync(containers).find((name) => name.startsWith(id)) ?? '');
  };
  const stateOf = (id: string) =>
    JSON.parse(readFileSync(join(folder(id), 'state.json'), 'utf8')) as { pid: number; run?: number };

  const awaySince = Date.now();
  await cluster.door('fail', 'n2', 'agent');
  // Of a death that it hears of before the agent's the shim leaves the rest to the agent.
  await until('the agent is gone', 20_000, async () => {
    return (await cluster.status()).hosts.find(({ name }) => name === 'n2')?.agentPid === null;
  });
  for (const { Pid } of [stays, ends]) process.kill(Number(Pid), 'SIGKILL');
  const pid = await until('its shim has run it again', 12_000, () => {
    const state = stateOf(stays.ID);
    return state.pid !== Number(stays.Pid) && isAlive(state.pid) && state.pid;
  });
  expect(Date.now() - awaySince).toBeGreaterThanOrEqual(ALONE_MS - 100);
  await cluster.door('heal', 'n2');

  await until('the cluster shows the second run', 20_000, async () => {
    const running = await cluster.running('stays');
    return running.length === 1 && running[0]?.ID === stays.ID && running[0]?.Pid === String(pid);
  });
  // Its address and ports were kept for it.
  await until('it answers', 10_000, async () => (await fetch(`http://${host?.address}:8090/`)).ok);
  const ended = await until('the other has ended for good', 20_000, async () => {
    const tasks = await cluster.tasks('ends');
    return tasks.every((task) => task.CurrentState.startsWith('Failed')) && tasks;
  });
  expect(ended).toMatchObject([{ ID: ends.ID, ExitCode: '137' }]);
  expect(await cluster.tasks('stays')).toHaveLength(1);
}, 60_000);
