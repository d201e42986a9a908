/**
 * From `service create` to all replicas running: 1, 10 and 50 of a published web server on three hosts, by RPC on an open
 * connection and by the CLI as a command. Running means ready: the published port of each container accepts.
 */
import { isAlive } from '../support/dev-cluster.ts';
import { ask } from '../support/load.ts';
import { type BenchCluster, HOSTS, IMAGE, type TaskEvent } from './bench-cluster.ts';
import type { Figure, Report } from './figure.ts';

const RUNS = 5;
const SIZES = [1, 10, 50];
const PUBLISHED = 8080;
const NAME = 'bench-create';
/** Until then every replica must have answered; each host's balancer takes turns. */
const ANSWER_MS = 5_000;

type Door = 'RPC' | 'command';

export async function benchCreate(cluster: BenchCluster, signal: AbortSignal): Promise<Report> {
  const figures: Figure[] = [];
  for (const door of ['RPC', 'command'] as const) {
    for (const replicas of SIZES) {
      const samples: number[] = [];
      const faults: string[] = [];
      for (let run = 0; run < RUNS; run += 1) {
        signal.throwIfAborted();
        samples.push(await createOnce(cluster, door, replicas, faults));
        faults.push(...(await faultsOf(cluster, replicas)));
        await cluster.remove(NAME);
      }
      const what = `${replicas} ${replicas === 1 ? 'replica' : 'replicas'}`;
      figures.push({ name: `${door === 'RPC' ? 'by RPC' : 'by the CLI'}, ${what}`, unit: 'ms', samples, faults });
    }
  }
  return { figures, notes: [] };
}

async function createOnce(cluster: BenchCluster, door: Door, replicas: number, faults: string[]): Promise<number> {
  // Listens before it acts; a failure of either is the failure of both.
  const allRunning = whenRunning(cluster.taskEvents(), replicas, faults);
  const from = performance.now();
  const [at] = await Promise.all([allRunning, create(cluster, door, replicas)]);
  return at - from;
}

async function create(cluster: BenchCluster, door: Door, replicas: number): Promise<void> {
  switch (door) {
    case 'RPC':
      await cluster.create(NAME, { replicas: String(replicas), publish: [`${PUBLISHED}:80`] });
      return;
    case 'command': {
      const flags = ['--name', NAME, '--replicas', String(replicas), '-p', `${PUBLISHED}:80`, '--detach'];
      const said = await cluster.covey('service', 'create', ...flags, IMAGE);
      if (said.code !== 0) throw new Error(`covey service create ended with ${said.code}: ${said.err}`);
    }
  }
}

/** The time at which the last of `replicas` tasks was seen running. */
async function whenRunning(events: AsyncIterable<TaskEvent>, replicas: number, faults: string[]): Promise<number> {
  const running = new Set<string>();
  for await (const event of events) {
    if (event.attributes.service !== NAME) continue;
    if (event.action === 'failed' || event.action === 'rejected') {
      running.delete(event.id);
      faults.push(`${event.name} ${event.action} on the way: ${event.attributes.reason ?? 'no reason'}`);
    }
    if (event.action === 'running') running.add(event.id);
    if (running.size === replicas) return performance.now();
  }
  throw new Error(`the manager ended the events with ${running.size} of ${replicas} tasks running`);
}

/** Each slot once, spread within one, every process there, every replica answering. */
async function faultsOf(cluster: BenchCluster, replicas: number): Promise<readonly string[]> {
  const tasks = await cluster.running(NAME);
  const faults: string[] = [];
  const slots = new Set(tasks.map((task) => task.task?.slot));
  if (tasks.length !== replicas || slots.size !== replicas) {
    faults.push(`${tasks.length} tasks run in ${slots.size} slots, not ${replicas}`);
  }
  const dead = tasks.filter((task) => !isAlive(task.status?.pid ?? 0));
  if (dead.length > 0) faults.push(`${dead.length} of ${replicas} tasks have no process`);
  const counts = cluster.status.hosts.map((host) => tasks.filter((task) => task.nodeName === host.name).length);
  const spread = Math.max(...counts) - Math.min(...counts);
  if (counts.length !== HOSTS || spread > 1) faults.push(`tasks on hosts: ${counts.join(', ')}`);
  const silent = replicas - (await answering(cluster, replicas));
  if (silent > 0) faults.push(`${silent} of ${replicas} replicas do not answer on port ${PUBLISHED}`);
  return faults;
}

/** How many replicas answer through one host; it hears of the last one a moment after we do. */
async function answering(cluster: BenchCluster, replicas: number): Promise<number> {
  const url = `http://${cluster.status.hosts[0]?.address}:${PUBLISHED}/`;
  const names = new Set<string>();
  const deadline = performance.now() + ANSWER_MS;
  while (names.size < replicas && performance.now() < deadline) {
    const answer = await ask(url).catch(() => undefined);
    if (answer !== undefined) names.add(answer.hostname);
  }
  return names.size;
}
