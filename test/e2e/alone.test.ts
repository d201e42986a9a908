/** With no manager in reach, an agent runs its tasks again by itself, and says so when one is back. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
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
  await cluster.door('fail', 'm1', 'agent');
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
