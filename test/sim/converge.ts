/** What a cluster must have come to when nobody has disturbed it for long enough (invariants I9, I10, I22, I24). */
import { revisionKey } from '../../common/model/service.ts';
import { isTerminal, isWanted, type Task } from '../../common/model/task.ts';
import { reconcilersOf } from '../../manager/reconcilers.ts';
import type { View } from '../../manager/store/store.ts';
import type { SimCluster } from './cluster.ts';
import { Violation } from './world.ts';

/** How long everything may take to be as it should be, once it is quiet: rollouts of six slots one by one, with graces. */
export const CONVERGENCE_MS = 10 * 60_000;
/** How long a converged cluster is then watched doing nothing. */
export const QUIET_MS = 10 * 60_000;

/** Waits for convergence, then for nothing at all. */
export function converge(cluster: SimCluster): void {
  const { timeline } = cluster.world;
  const end = timeline.now + CONVERGENCE_MS;
  let left = differences(cluster);
  while (left.length > 0 && timeline.now < end) {
    timeline.runUntil(timeline.now + 5_000);
    left = differences(cluster);
  }
  if (left.length > 0) throw new Violation(`I9: not converged after ${CONVERGENCE_MS / 1_000} s: ${left.join('; ')}`);
  // Reports on their way, deletions and the last rollout's word are still to come.
  timeline.runUntil(timeline.now + 60_000);
  beQuiet(cluster);
}

function beQuiet(cluster: SimCluster): void {
  const { world, observer } = cluster;
  for (const reconciler of reconcilersOf(world.etcd.reigning?.epoch ?? { incarnation: 1, reign: 0 })) {
    for (const key of reconciler.allKeys(world.view)) {
      const plan = reconciler.decide(world.view, key, { now: world.now, newTaskId: () => world.newTaskId() });
      if (plan.units.length > 0 || plan.wakeAt !== undefined) {
        const what = plan.units
          .map((unit) => unit.map(({ op, kind, id }) => `${op} ${kind} ${id}`).join(', '))
          .join('; ');
        throw new Violation(`I10: ${reconciler.name} ${key} still wants something: ${what} wake ${plan.wakeAt}`);
      }
    }
  }
  const before = observer.commits;
  world.timeline.runUntil(world.now + QUIET_MS);
  if (observer.commits !== before) throw new Violation(`I10: ${observer.commits - before} commits in a quiet cluster`);
  const left = differences(cluster);
  if (left.length > 0) throw new Violation(`I9: convergence did not last: ${left.join('; ')}`);
}

/** Everything that is not as it should be. */
function differences(cluster: SimCluster): readonly string[] {
  const { view } = cluster.world;
  const found: string[] = [];
  for (const { value: service } of view.all('service')) {
    const tasks = [...view.tasksOf(service.id)].map(({ value }) => value);
    const wanted = tasks.filter(isWanted);
    const right = wanted.filter((task) => task.revision === service.revision && runs(cluster, task));
    const { replicas } = service.spec.mode;
    if (right.length !== replicas || wanted.length !== replicas) {
      const waits = wanted.filter((task) => !right.includes(task)).map((task) => explain(view, task));
      found.push(
        `${service.id} has ${right.length} of ${replicas} right, ${wanted.length} wanted (${waits.join(', ')})`,
      );
    }
    const rollout = view.get('rollout', service.id)?.value;
    if (rollout !== undefined && rollout.target === service.revision && rollout.completedAt === undefined) {
      found.push(`${service.id} is ${rollout.state}: ${rollout.message}`);
    }
    found.push(...longHistories(cluster, tasks));
  }
  return [...found, ...strays(cluster)];
}

function longHistories({ world }: SimCluster, tasks: readonly Task[]): readonly string[] {
  const perSlot = new Map<number, number>();
  for (const task of tasks) if (hasEnded(world.view, task)) perSlot.set(task.slot, (perSlot.get(task.slot) ?? 0) + 1);
  const limit = world.view.get('cluster', 'default')?.value.taskHistory ?? 5;
  return [...perSlot]
    .filter(([, count]) => count > limit)
    .map(([slot, count]) => `I24: slot ${slot} of ${tasks[0]?.serviceId} keeps ${count} ended tasks`);
}

/** Containers that no wanted task stands for, on nodes that are heard; and tasks without a service or a revision. */
function strays({ world, hosts }: SimCluster): readonly string[] {
  const { view } = world;
  const found: string[] = [];
  for (const container of world.containers.running()) {
    const task = view.get('task', container.taskId)?.value;
    const node = view.get('node', container.nodeId)?.value;
    if (hosts.get(container.nodeId)?.isReachable !== true) continue;
    if (task === undefined || !isWanted(task))
      found.push(`container of ${container.taskId} still runs on ${container.nodeId}`);
    if (node?.availability === 'drain') found.push(`I22: drained ${container.nodeId} still runs ${container.taskId}`);
  }
  for (const { value: task } of view.all('task')) {
    if (view.get('service', task.serviceId) === undefined) found.push(`task ${task.id} of a removed service is left`);
    if (view.get('revision', revisionKey(task.serviceId, task.revision)) === undefined)
      found.push(`task ${task.id} has no revision`);
  }
  return found;
}

function runs({ world }: SimCluster, task: Task): boolean {
  const status = world.view.get('task-status', task.id)?.value;
  return status?.state === 'running' && world.containers.runs(task.id);
}

function explain(view: View, task: Task): string {
  const state = view.get('task-status', task.id)?.value.state ?? 'no status';
  return `${task.id} slot ${task.slot} revision ${task.revision} ${task.desired} ${state} on ${task.nodeId ?? task.pending}`;
}

function hasEnded(view: View, task: Task): boolean {
  const status = view.get('task-status', task.id)?.value;
  return status !== undefined && isTerminal(status.state);
}
