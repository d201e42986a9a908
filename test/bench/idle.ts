/** What a cluster costs that has nothing to do: memory and CPU of manager, etcd and agents, and memory of the shims. */
import { systemClock } from '../../common/clock.ts';
import { type BenchCluster, HOSTS } from './bench-cluster.ts';
import type { Figure, Report } from './figure.ts';
import { cpuSecondsOf, nameOf, pssKib, rssMib, treeOf } from './processes.ts';

const NAME = 'bench-idle';
const REPLICAS = 6;
/** After the last change; the manager's clean-up and the agents' next reports are over by then. */
const SETTLE_MS = 4_000;
const WINDOWS = 5;
const WINDOW_MS = 4_000;

const SHIM_AIM = { kind: 'at most', value: 100 } as const;

interface Room {
  readonly name: string;
  readonly pids: readonly number[];
}

export async function benchIdle(cluster: BenchCluster, signal: AbortSignal): Promise<Report> {
  await cluster.create(NAME, { replicas: String(REPLICAS), publish: ['80'] });
  const before = pidsOf(await cluster.untilRunning(NAME, REPLICAS));
  await systemClock.sleep(SETTLE_MS, signal);
  const rooms = roomsOf(cluster);
  const cpu = new Map(rooms.map((room) => [room.name, [] as number[]]));
  const rss = new Map(rooms.map((room) => [room.name, [] as number[]]));
  for (let window = 0; window < WINDOWS; window += 1) {
    const from = performance.now();
    const used = rooms.map(secondsOf);
    await systemClock.sleep(WINDOW_MS, signal);
    const seconds = (performance.now() - from) / 1_000;
    rooms.forEach((room, i) => {
      cpu.get(room.name)?.push(((secondsOf(room) - (used[i] ?? 0)) / seconds) * 100);
      rss.get(room.name)?.push(...room.pids.map((pid) => rssMib(pid) ?? Number.NaN));
    });
  }
  const after = pidsOf(await cluster.running(NAME));
  const faults = before === after ? [] : ['containers were replaced although nothing happened'];
  const shims = treeOf([cluster.supervisor()])
    .filter((pid) => nameOf(pid) === 'covey-shim')
    .flatMap((pid) => pssKib(pid) ?? []);
  await cluster.remove(NAME);
  const figures = rooms.flatMap((room): readonly Figure[] => [
    { name: `${room.name}: CPU`, unit: '% of a core', samples: cpu.get(room.name) ?? [], faults },
    { name: `${room.name}: RSS of each`, unit: 'MiB', samples: rss.get(room.name) ?? [], faults },
  ]);
  const shimFaults = shims.length === REPLICAS ? [] : [`${shims.length} shims for ${REPLICAS} containers`];
  const shim: Figure = { name: 'shim: PSS', unit: 'KiB', samples: shims, aim: SHIM_AIM, faults: shimFaults };
  return {
    figures: [...figures, shim],
    notes: [`${HOSTS} hosts and ${REPLICAS} running tasks; CPU in ${WINDOWS} windows of ${WINDOW_MS / 1_000} s`],
  };
}

function roomsOf({ status }: BenchCluster): readonly Room[] {
  return [
    { name: 'manager', pids: status.managers.flatMap((one) => one.pid ?? []) },
    { name: `${HOSTS} agents`, pids: status.hosts.flatMap((one) => one.agentPid ?? []) },
    { name: 'etcd', pids: status.etcd.map((one) => one.pid) },
  ];
}

function secondsOf(room: Room): number {
  return room.pids.reduce((sum, pid) => sum + (cpuSecondsOf(pid) ?? Number.NaN), 0);
}

function pidsOf(tasks: Awaited<ReturnType<BenchCluster['running']>>): string {
  return tasks
    .map((task) => task.status?.pid)
    .toSorted()
    .join(' ');
}
