/** What must not be stuck once faults have healed, whatever users asked for: waiting is allowed, waiting for nothing is not. */
import type { Rollout } from '../../common/model/rollout.ts';
import { isSettled } from '../../common/model/rollout.ts';
import type { Service } from '../../common/model/service.ts';
import { isTerminal, isWanted, type Task } from '../../common/model/task.ts';
import type { SimCluster } from './cluster.ts';

/** More than any grace period, report and decision take together. */
const SLACK_MS = 45_000;

/** Everything that waits though nothing keeps it; empty in a steady cluster, also in one that crashes and retries. */
export function stuck(cluster: SimCluster): readonly string[] {
  const { view } = cluster.world;
  const found: string[] = [];
  for (const { value: service } of view.all('service')) {
    const tasks = [...view.tasksOf(service.id)].map(({ value }) => value);
    const slots = new Set(tasks.filter(isWanted).map((task) => task.slot));
    const { replicas } = service.spec.mode;
    if (slots.size !== replicas) found.push(`I9: ${service.id} has ${slots.size} slots, wanted are ${replicas}`);
    for (const task of tasks) found.push(...stuckTask(cluster, task, tasks));
    const rollout = view.get('rollout', service.id)?.value;
    if (rollout !== undefined) found.push(...stuckRollout(cluster, service, rollout));
  }
  return found;
}

function stuckTask({ world, hosts }: SimCluster, task: Task, tasks: readonly Task[]): readonly string[] {
  const { view, now, containers } = world;
  const at = `task ${task.id} of ${task.serviceId}`;
  const isOld = now - task.desiredAt > SLACK_MS;
  if (!isOld) return [];
  if (!isWanted(task)) {
    const isReached = task.nodeId !== undefined && hosts.get(task.nodeId)?.isReachable === true;
    return isReached && containers.runs(task.id) ? [`I9: ${at} was told to stop and still runs`] : [];
  }
  if (task.nodeId === undefined && task.pending === undefined) return [`I9: ${at} has neither a node nor a reason`];
  if (task.desired !== 'ready') return [];
  const isDue = task.notBefore === undefined || task.notBefore < now - SLACK_MS;
  const holders = tasks.filter((other) => other.slot === task.slot && !isWanted(other) && containers.runs(other.id));
  const isDead = isTerminal(view.get('task-status', task.id)?.value.state ?? 'new');
  return isDue && holders.length === 0 && !isDead ? [`I9: ${at} is held by nothing`] : [];
}

function stuckRollout({ world }: SimCluster, service: Service, rollout: Rollout): readonly string[] {
  const at = `rollout of ${service.id}`;
  if (rollout.target !== service.revision) return [`I9: ${at} is to ${rollout.target}, wanted is ${service.revision}`];
  if (isSettled(rollout.state)) return [];
  const policy = rollout.state === 'updating' ? service.spec.update : service.spec.rollback;
  // A slot's own deadline begins when its task is made, which is after the last progress by at most one delay.
  const patience = 2 * policy.progressDeadlineMs + policy.delayMs + SLACK_MS;
  const since = Math.max(rollout.progressAt, rollout.lastDoneAt ?? 0);
  return world.now - since > patience ? [`T2: ${at} has been ${rollout.state} for ${world.now - since} ms`] : [];
}
