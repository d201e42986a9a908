/**
 * From the death of a container to its replacement. Twenty services of one replica, restart delay 0; each container is
 * killed once, since a slot that fails twice within ten seconds waits before its next task, and that is not what is asked
 * here. The replacement is seen three times: as a process, in the cluster's events, and by an answer through a host.
 */
import { Agent } from 'node:http';
import { systemClock } from '../../common/clock.ts';
import { ask } from '../support/load.ts';
import { type BenchCluster, STEP_MS, type Task, type TaskEvent } from './bench-cluster.ts';
import type { Peer, Report } from './figure.ts';
import { startedAt, uptime } from './processes.ts';

const SAMPLES = 20;
/** Between two deaths, so that one is over and its host has cleaned up before the next. */
const PAUSE_MS = 200;
/** The balancer follows the events within a few of these. */
const ASK_EVERY_MS = 2;
const KILLED = 137;

/** Measured on a machine of this kind with Docker Swarm 20.10, restart delay 0, to the new process. */
const SWARM: Peer = { name: 'Docker Swarm 20.10', figure: 430, isMeasured: false };

const AIM = { kind: 'at most', value: 100 } as const;

interface Death {
  readonly processMs: number;
  readonly runningMs: number;
  readonly answeringMs: number;
}

interface Victim {
  readonly name: string;
  readonly url: string;
  readonly task: Task;
}

export async function benchDeath(cluster: BenchCluster, signal: AbortSignal): Promise<Report> {
  const names = Array.from({ length: SAMPLES }, (_, i) => `bench-death-${i + 1}`);
  const urls = new Map<string, string>();
  for (const name of names) {
    const [port] = await cluster.create(name, { publish: ['80'], restartDelay: '0s' });
    urls.set(name, `http://${cluster.status.hosts[0]?.address}:${port}/`);
  }
  const faults: string[] = [];
  const deaths: Death[] = [];
  for (const name of names) await cluster.untilRunning(name, 1);
  for (const name of names) {
    await systemClock.sleep(PAUSE_MS, signal);
    const [task] = await cluster.untilRunning(name, 1);
    if (task !== undefined) deaths.push(await die(cluster, { name, url: urls.get(name) ?? '', task }, faults));
  }
  await cluster.remove(...names);
  const figure = (name: string, of: (death: Death) => number) =>
    ({ name, unit: 'ms', samples: deaths.map(of) }) as const;
  return {
    figures: [
      { ...figure('to the new process', (death) => death.processMs), aim: AIM, peers: [SWARM], faults },
      { ...figure('to running, as the cluster tells', (death) => death.runningMs), aim: AIM, peers: [SWARM], faults },
      { ...figure('to its answer through a host', (death) => death.answeringMs), aim: AIM, peers: [SWARM], faults },
    ],
    notes: ['the new process is timed by the kernel to 10 ms; Swarm was timed to the new process, not to an answer'],
  };
}

async function die(cluster: BenchCluster, { name, url, task }: Victim, faults: string[]): Promise<Death> {
  const id = task.task?.id ?? '';
  const before = await ask(url);
  const successor = whenSucceeded(cluster.taskEvents(), name, id);
  const bornFrom = uptime();
  const from = performance.now();
  kill(task);
  const { at, exitCode } = await successor;
  const answeredAt = await whenAnswered(url, before.hostname);
  if (exitCode !== String(KILLED))
    faults.push(`${name}: exit code ${exitCode ?? 'unknown'} of the dead, not ${KILLED}`);
  const tasks = await cluster.running(name);
  const [heir] = tasks;
  if (tasks.length !== 1 || heir?.task?.id === id) faults.push(`${name}: ${tasks.length} tasks run afterwards`);
  const bornAt = startedAt(heir?.status?.pid ?? 0);
  if (bornAt === undefined) faults.push(`${name}: the replacement has no process`);
  const processMs = bornAt === undefined ? Number.NaN : (bornAt - bornFrom) * 1_000;
  return { processMs, runningMs: at - from, answeringMs: answeredAt - from };
}

/** Never pid 0, which would be ourselves. */
function kill(task: Task): void {
  const pid = task.status?.pid ?? 0;
  if (pid > 1) process.kill(pid, 'SIGKILL');
}

/** When another task of the service runs, and what was told of the dead one until then. */
async function whenSucceeded(
  events: AsyncIterable<TaskEvent>,
  service: string,
  dead: string,
): Promise<{ readonly at: number; readonly exitCode: string | undefined }> {
  let exitCode: string | undefined;
  for await (const event of events) {
    if (event.attributes.service !== service) continue;
    if (event.id === dead) exitCode = event.attributes.exitCode ?? exitCode;
    else if (event.action === 'running') return { at: performance.now(), exitCode };
  }
  throw new Error(`the manager ended the events before a task of ${service} was replaced`);
}

/**
 * When somebody else than `before` answers. A new connection every few milliseconds, the old ones left open: one that was
 * sent to the dead container would wait a second before it tries again.
 */
async function whenAnswered(url: string, before: string): Promise<number> {
  const agent = new Agent({ keepAlive: false });
  let answeredAt: number | undefined;
  const once = async (): Promise<void> => {
    const answer = await ask(url, agent).catch(() => undefined);
    if (answer !== undefined && answer.hostname !== before) answeredAt ??= performance.now();
  };
  const limit = AbortSignal.timeout(STEP_MS);
  const asked: Promise<void>[] = [];
  try {
    while (answeredAt === undefined) {
      asked.push(once());
      await systemClock.sleep(ASK_EVERY_MS, limit);
    }
    return answeredAt;
  } finally {
    agent.destroy();
    await Promise.all(asked);
  }
}
