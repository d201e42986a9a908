/**
 * Moves tasks from nodes that no longer fit them: a constraint that fails since a label changed, or reservations that
 * exceed what is left of the host. Source: swarmkit, constraint enforcer.
 *
 * It only begins a move: the successor starts beside the old task, and `pair.ts` ends it.
 */
import { factsOf, satisfies } from '../../common/model/constraint.ts';
import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import type { Node, NodeStatus } from '../../common/model/node.ts';
import { isSettled } from '../../common/model/rollout.ts';
import type { ServiceRevision } from '../../common/model/service.ts';
import { isTerminal, isWanted, type Task } from '../../common/model/task.ts';
import { NOTHING, type Plan, type Reconciler, type Tick } from '../reconcile.ts';
import type { Stored, Unit, View } from '../store/store.ts';
import { revisionOf } from './dirty.ts';
import { proofOf } from './footing.ts';
import { isServing, type Member, type Scene, type Slot, sceneOf, unchanged } from './scene.ts';
import { likeness, move, succession } from './successor.ts';

/** A task that may not stay, and why. */
interface Misfit {
  readonly task: Task;
  readonly because: string;
}

/** The reconciler of misplaced tasks; key = node id. */
export const enforce: Reconciler = {
  name: 'enforce',
  *keysOf(change, view) {
    if (change.kind === 'node' || change.kind === 'node-status') yield change.id;
    if (change.kind === 'rollout') yield* nodesOf(view, change.id as ServiceId);
  },
  *allKeys(view) {
    for (const node of view.all('node')) yield node.value.id;
  },
  decide(view, key, tick) {
    const node = view.get('node', key)?.value;
    const status = view.get('node-status', key)?.value;
    if (node?.availability !== 'active' || status?.state !== 'ready') return NOTHING;
    return eviction(view, tick, misfits(view, node, status));
  },
};

function nodesOf(view: View, serviceId: ServiceId): Iterable<NodeId> {
  const nodes = new Set<NodeId>();
  for (const { value } of view.tasksOf(serviceId)) if (value.nodeId !== undefined) nodes.add(value.nodeId);
  return nodes;
}

function misfits(view: View, node: Node, status: NodeStatus): readonly Misfit[] {
  const wanted = [...view.tasksOn(node.id)].filter((task) => isHere(view, task)).map((task) => task.value);
  const name = status.description.hostname === '' ? node.id : status.description.hostname;
  const facts = factsOf(node, status);
  const unmet = new Map<string, string | undefined>();
  const misplaced: Misfit[] = [];
  const fitting: Task[] = [];
  for (const task of wanted) {
    const key = `${task.serviceId}.${task.revision}`;
    if (!unmet.has(key))
      unmet.set(
        key,
        constraintsOf(view, task).find((one) => !satisfies(facts, [one])),
      );
    const constraint = unmet.get(key);
    if (constraint === undefined) fitting.push(task);
    else misplaced.push({ task, because: `node ${name} no longer satisfies ${constraint}` });
  }
  return [...misplaced, ...overload(view, name, status, fitting)];
}

function isHere(view: View, { value: task }: Stored<Task>): boolean {
  const status = view.get('task-status', task.id)?.value;
  return isWanted(task) && (status === undefined || !isTerminal(status.state));
}

/** While an update is going on or stuck, old tasks are judged by their own constraints: replacing them is the updater's. */
function constraintsOf(view: View, task: Task): readonly string[] {
  const service = view.get('service', task.serviceId)?.value;
  const own = revisionOf(view, task)?.template.placement.constraints ?? [];
  if (service === undefined || service.revision === task.revision) return own;
  const rollout = view.get('rollout', task.serviceId)?.value;
  const isOver = rollout?.target === service.revision && isSettled(rollout.state) && rollout.completedAt !== undefined;
  return isOver ? service.spec.template.placement.constraints : own;
}

/** The newest tasks, until what is left fits the host's totals. */
function overload(view: View, name: string, status: NodeStatus, tasks: readonly Task[]): readonly Misfit[] {
  let { nanoCpus, memoryBytes } = status.description;
  const misplaced: Misfit[] = [];
  for (const task of [...tasks].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))) {
    const needs = revisionOf(view, task)?.template.reservations ?? NO_RESERVATIONS;
    if (needs.nanoCpus > nanoCpus || needs.memoryBytes > memoryBytes) {
      if (needs.nanoCpus === 0 && needs.memoryBytes === 0) continue;
      const what = needs.memoryBytes > memoryBytes ? 'memory' : 'cpu';
      misplaced.push({ task, because: `node ${name} no longer has the ${what} that the task reserves` });
      continue;
    }
    nanoCpus -= needs.nanoCpus;
    memoryBytes -= needs.memoryBytes;
  }
  return misplaced;
}

const NO_RESERVATIONS: ServiceRevision['template']['reservations'] = { nanoCpus: 0, memoryBytes: 0 };

function eviction(view: View, tick: Tick, found: readonly Misfit[]): Plan {
  const scenes = new Map<string, Scene>();
  const units: Unit[] = [];
  for (const { task, because } of found) {
    const service = view.get('service', task.serviceId);
    if (service === undefined) continue;
    const scene = scenes.get(service.value.id) ?? sceneOf(view, service, tick);
    scenes.set(service.value.id, scene);
    const slot = scene.slots.get(task.slot);
    const member = slot?.wanted.find((one) => one.task.id === task.id);
    if (slot === undefined || member === undefined || slot.wanted.length > 1) continue;
    units.push(evicted(scene, slot, member, because));
  }
  return { units };
}

function evicted(scene: Scene, slot: Slot, member: Member, because: string): Unit {
  if (!isServing(member)) return [...move(scene, slot, member, because), ...unchanged(member)];
  const coming = { ...likeness(scene, member), origin: 'move', stops: [], keeps: member } as const;
  return [...succession(scene, slot, coming), ...proofOf(member.task, member.ground)];
}
