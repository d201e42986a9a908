/** Tasks as users see them: intent and observation together, with the reason for whatever does not run. */
import type { Instant, TaskId } from '../../common/model/ids.ts';
import { type Port, revisionKey } from '../../common/model/service.ts';
import { isWanted, stateOf, type Task, type TaskState, type TaskStatus } from '../../common/model/task.ts';
import { explainTask, type NodeReason } from '../scheduler/explain.ts';
import type { Stored, View } from '../store/store.ts';
import { findNode, findService } from './lookup.ts';
import { isNodeGone, nodeNameOf, serviceNameOf } from './names.ts';

/** A task with where it stands and why. */
export interface TaskPicture {
  readonly task: Task;
  readonly status: TaskStatus | undefined;
  readonly state: TaskState;
  readonly stateSince: Instant;
  readonly serviceName: string;
  /** As written in the revision that it is made from. */
  readonly image: string;
  /** Empty without a node. */
  readonly nodeName: string;
  /** Only of a wanted task without a node. */
  readonly refusals: readonly NodeReason[];
  /** Host mode only: ingress ports are the service's. */
  readonly ports: readonly Port[];
}

/** Which tasks: of any of the services and on any of the nodes; empty = all. Refs as in lookup.ts. */
export interface TaskFilter {
  readonly services: readonly string[];
  readonly nodes: readonly string[];
}

/** By service name, slot, newest first. @throws ClusterError `not_found`, `invalid` for refs that name nothing or much */
export function listTasks(view: View, filter: TaskFilter, now: Instant): readonly TaskPicture[] {
  const services = filter.services.map((ref) => findService(view, ref).value.id);
  const nodes = new Set(filter.nodes.map((ref) => findNode(view, ref).value.id));
  const tasks = services.length === 0 ? [...view.all('task')] : services.flatMap((id) => [...view.tasksOf(id)]);
  const explain = explainer(view, now);
  return tasks
    .filter(({ value }) => nodes.size === 0 || (value.nodeId !== undefined && nodes.has(value.nodeId)))
    .map(({ value }) => pictureOfTask(view, value, explain))
    .sort(inOrder);
}

/** Why each node refuses a task; the same answer for all tasks of a revision is worked out once. */
export function explainer(view: View, now: Instant): (task: Task) => readonly NodeReason[] {
  const known = new Map<string, readonly NodeReason[]>();
  return (task) => {
    if (task.nodeId !== undefined || !isWanted(task)) return [];
    const key = revisionKey(task.serviceId, task.revision);
    const reasons = known.get(key) ?? explainTask(view, task, now);
    known.set(key, reasons);
    return reasons;
  };
}

/** One task. */
export function pictureOfTask(view: View, task: Task, explain: (task: Task) => readonly NodeReason[]): TaskPicture {
  const status = view.get('task-status', task.id)?.value;
  const revision = view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
  const state = stateOf(task, status, isNodeGone(view, task));
  return {
    task,
    status,
    state,
    stateSince: sinceOf(view, task, state, status),
    serviceName: serviceNameOf(view, task),
    image: revision?.template.container.image ?? '',
    nodeName: nodeNameOf(view, task.nodeId),
    refusals: explain(task),
    ports: (revision?.ports ?? []).filter(({ mode }) => mode === 'host'),
  };
}

/** True for a task that managers want and agents see running, on a node that is there. */
export function isRunning(view: View, { value }: Stored<Task>): boolean {
  if (value.desired !== 'running' || isNodeGone(view, value)) return false;
  return view.get('task-status', value.id as TaskId)?.value.state === 'running';
}

function sinceOf(view: View, task: Task, state: TaskState, status: TaskStatus | undefined): Instant {
  if (state === 'orphaned' && task.nodeId !== undefined) {
    return view.get('node-status', task.nodeId)?.value.since ?? task.desiredAt;
  }
  // By the manager's clock: the agent's may be off, and this is compared with the manager's.
  return status?.appliedAt ?? task.assignedAt ?? task.createdAt;
}

function inOrder(a: TaskPicture, b: TaskPicture): number {
  if (a.serviceName !== b.serviceName) return a.serviceName < b.serviceName ? -1 : 1;
  return a.task.slot - b.task.slot || b.task.createdAt - a.task.createdAt || (a.task.id < b.task.id ? -1 : 1);
}
