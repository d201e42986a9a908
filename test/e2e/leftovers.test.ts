/** What a cluster leaves on the machine: its state while it is down, nothing once it is removed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DevCluster, isAlive } from '../support/dev-cluster.ts';
import { ask } from '../support/load.ts';
import { type MachineSnapshot, machineSnapshot, untilAsBefore } from '../support/machine-snapshot.ts';
import { processesOf, startDemo, supervisorOf } from '../support/start-demo.ts';
import { until } from '../support/until.ts';

let before: MachineSnapshot;
let cluster: DevCluster | undefined;

beforeEach(async () => {
  before = machineSnapshot();
  cluster = await DevCluster.up();
  await cluster.must('service', 'create', '--name', 'web', '--replicas', '3', '-p', '8080:80', '--quiet', 'web:1');
});
afterEach(() => cluster?.clean());

it('keeps services over `down` and `up`, and leaves nothing after `clean`', async () => {
  const it = cluster as DevCluster;
  const running = processesOf(it.dir);
  const tasks = (await it.running('web')).map((task) => task.ID);
  await it.door('down');
  expect(running.filter(isAlive)).toEqual([]);
  expect(readFileSync(join(it.dir, 'cluster.json'), 'utf8')).toContain('"version"');
  await it.start();
  const again = await it.untilRunning('web', 3, 60_000);
  expect(again.map((task) => task.Image)).toEqual(['web:1', 'web:1', 'web:1']);
  expect(again.filter((task) => tasks.includes(task.ID))).toEqual([]);
  const address = (await it.status()).hosts[0]?.address;
  expect((await ask(`http://${address}:8080/`)).version).toBe('1');
  await it.door('clean');
  await untilAsBefore(before, it.dir);
});

it('adopts containers as they are when the supervisor was killed, and cleans up when everything was', async () => {
  const it = cluster as DevCluster;
  const pids = await it.pids('web');
  const supervisor = supervisorOf(it.dir);
  process.kill(supervisor, 'SIGKILL');
  await until('agents and managers have ended with it', 10_000, () => !isAlive(supervisor));
  expect([...pids.values()].every(isAlive)).toBe(true);
  const said = await startDemo(it.dir, '--detach');
  expect(said.code, said.err).toBe(0);
  expect(said.out).toContain('adopting the cluster');
  expect(await it.pids('web')).toEqual(pids);

  const all = processesOf(it.dir).toSorted(() => Math.random() - 0.5);
  expect(all.length).toBeGreaterThan(10);
  for (const pid of all) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It went with one that was killed before.
    }
  }
  const cleaned = await startDemo(it.dir, '--clean');
  expect(cleaned.code, cleaned.err).toBe(0);
  expect(cleaned.out).toContain('removed the cluster');
  await untilAsBefore(before, it.dir);
});
