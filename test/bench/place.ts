/**
 * Placement rate of the scheduler: from a view with unbound tasks to plans that bind them all, commits to a store in
 * memory included in the second figure only. No peer is measured here.
 */
import { schedule, UNITS_A_PLAN_MAX } from '../../manager/scheduler/schedule.ts';
import type { Unit } from '../../manager/store/store.ts';
import { aCluster, aNode, aNodeStatus, aRevision, aService, aSpec, aTemplate, CPU, MIB } from '../support/fixtures.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { aTask } from '../support/objects.ts';

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
const RUNS = 3;

/** Prints one line a size: tasks placed in a second, deciding only and with commits, the best and worst of three runs. */
export async function benchPlace(print: (line: string) => void): Promise<void> {
  for (const size of SIZES) {
    const runs = Array.from({ length: RUNS }, () => place(size));
    const rates = (ms: (run: Run) => number): string => {
      const sorted = runs.map((run) => (size.tasks / ms(run)) * 1_000).sort((a, b) => a - b);
      return `${thousands(sorted[0])}–${thousands(sorted.at(-1))}k tasks/s`;
    };
    const isRight = runs.every((run) => run.placed === size.tasks && run.spread <= 1);
    const longest = Math.max(...runs.map((run) => run.longestMs));
    print(
      `place ${size.nodes} nodes / ${size.tasks} tasks / ${size.services} services: decide ${rates((run) => run.decideMs)}, ` +
        `with commits ${rates((run) => run.totalMs)}, longest decision ${longest.toFixed(0)} ms, ` +
        `${isRight ? 'all placed, spread within one' : 'NOT CORRECT'}`,
    );
  }
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

function thousands(rate: number | undefined): string {
  return ((rate ?? 0) / 1_000).toFixed(0);
}
