/**
 * Placement rate of the scheduler: from a view with unbound tasks to plans that bind them all, commits to a store in
 * memory included in the second figure only.
 */
import { systemClock } from '../../common/clock.ts';
import { schedule, UNITS_A_PLAN_MAX } from '../../manager/scheduler/schedule.ts';
import type { Unit } from '../../manager/store/store.ts';
import { aCluster, aNode, aNodeStatus, aRevision, aService, aSpec, aTemplate, CPU, MIB } from '../support/fixtures.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { aTask } from '../support/objects.ts';
import type { Figure, Peer, Report } from './figure.ts';

interface Size {
  readonly nodes: number;
  readonly tasks: number;
  readonly services: number;
}

const SIZES: readonly Size[] = [
  { nodes: 100, tasks: 10_000, services: 1 },
  { nodes: 1_000, tasks: 10_000, services: 1 },
  { nodes: 1_000, tasks: 10_000, services: 100 },
];
const RUNS = 5;

/** Swarm's own scheduler on a machine of this kind, 1,000 nodes and 10,000 tasks of one service; from commit to commit. */
const SWARMKIT: Peer = { name: 'swarmkit', figure: 9_200, isMeasured: false };

export async function benchPlace(signal: AbortSignal): Promise<Report> {
  const figures: Figure[] = [];
  for (const size of SIZES) {
    const runs: Run[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      runs.push(place(size));
      // A run lets nothing else happen: here a Ctrl-C is heard.
      await systemClock.sleep(0, signal);
    }
    figures.push(...figuresOf(size, runs));
  }
  return { figures, notes: ['nodes/tasks/services; "with commit": into a store in memory'] };
}

function figuresOf({ nodes, tasks, services }: Size, runs: readonly Run[]): readonly Figure[] {
  const what = `${nodes}/${tasks / 1_000}k/${services}`;
  const faults = runs
    .filter((run) => run.placed !== tasks || run.spread > 1)
    .map((run) => `${what}: ${run.placed} placed, spread ${run.spread}`);
  const rates = (ms: (run: Run) => number) => runs.map((run) => (tasks / ms(run)) * 1_000);
  const isMeasuredElsewhere = nodes === 1_000 && services === 1;
  const base = { faults, unit: 'tasks/s' } as const;
  return [
    { ...base, name: `${what}: decide`, samples: rates((run) => run.decideMs) },
    {
      ...base,
      name: `${what}: with commit`,
      samples: rates((run) => run.totalMs),
      ...(isMeasuredElsewhere ? { peers: [SWARMKIT] } : {}),
    },
    { faults, unit: 'ms', name: `${what}: longest decision`, samples: runs.map((run) => run.longestMs) },
  ];
}

interface Run {
  readonly decideMs: number;
  readonly totalMs: number;
  /** Of one decision; the lease's timer must never wait 100 ms. */
  readonly longestMs: number;
  readonly placed: number;
  /** Largest minus smallest number of tasks on a node. */
  readonly spread: number;
}

function place(size: Size): Run {
  const store = worldOf(size);
  const begin = performance.now();
  let decideMs = 0;
  let longestMs = 0;
  for (;;) {
    const from = performance.now();
    const plan = schedule.decide(store.view, 'cluster', { now: 1, newTaskId: () => 'new' as never });
    const took = performance.now() - from;
    decideMs += took;
    longestMs = Math.max(longestMs, took);
    store.commitNow(plan.units);
    if (plan.units.length < UNITS_A_PLAN_MAX) break;
  }
  const totalMs = performance.now() - begin;
  const counts = [...store.view.all('node')].map(({ value }) => [...store.view.tasksOn(value.id)].length);
  const placed = counts.reduce((sum, count) => sum + count, 0);
  return { decideMs, totalMs, longestMs, placed, spread: Math.max(...counts) - Math.min(...counts) };
}

function worldOf({ nodes, tasks, services }: Size): MemoryStore {
  const store = new MemoryStore();
  const units: Unit[] = [];
  store.put('cluster', 'default', aCluster());
  for (let i = 0; i < nodes; i++) {
    const id = `n${i}`;
    const block = `10.${64 + (i >> 8)}.${i & 255}.0/24`;
    units.push([{ op: 'put', kind: 'node', id, value: aNode(id, { block, labels: { rack: `r${i % 10}` } }) }]);
    units.push([{ op: 'put', kind: 'node-status', id, value: aNodeStatus(id) }]);
  }
  for (let i = 0; i < services; i++) {
    const service = aService(
      `s${i}`,
      aSpec(`s${i}`, {
        template: aTemplate({
          reservations: { nanoCpus: CPU / 1_000, memoryBytes: MIB },
          placement: { constraints: ['node.labels.rack!=r10'], maxReplicasPerNode: 0 },
        }),
      }),
    );
    units.push([{ op: 'put', kind: 'revision', id: `s${i}.1`, value: aRevision(service) }]);
  }
  for (let i = 0; i < tasks; i++) {
    const value = aTask(`t${i}`, `s${i % services}`, { slot: i + 1 });
    units.push([{ op: 'put', kind: 'task', id: value.id, value }]);
  }
  store.commitNow(units);
  return store;
}
