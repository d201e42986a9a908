/** What truly runs, whatever anybody believes: the simulation's ground truth about containers. */
import type { Instant, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';

export interface Container {
  readonly taskId: TaskId;
  readonly serviceId: ServiceId;
  readonly slot: number;
  readonly nodeId: NodeId;
  readonly startedAt: Instant;
  /** Undefined while it runs. */
  end: { readonly exitCode: number; readonly oomKilled: boolean; readonly wasAsked: boolean } | undefined;
}

export class Containers {
  readonly #byTask = new Map<TaskId, Container>();
  readonly #everStarted = new Set<TaskId>();

  /** @throws Error when the task has had a container before: at most one, once (invariant I4) */
  start(task: Task, nodeId: NodeId, now: Instant): Container {
    if (this.#everStarted.has(task.id)) throw new Error(`I4: task ${task.id} starts a second container on ${nodeId}`);
    this.#everStarted.add(task.id);
    const { id: taskId, serviceId, slot } = task;
    const container: Container = { taskId, serviceId, slot, nodeId, startedAt: now, end: undefined };
    this.#byTask.set(task.id, container);
    return container;
  }

  /** The next run of a task's container, once the one before has ended: at most one at a time (invariant I4). */
  rerun(taskId: TaskId, now: Instant): void {
    const before = this.#byTask.get(taskId);
    if (before?.end === undefined) throw new Error(`I4: task ${taskId} is run again while it runs`);
    this.#byTask.set(taskId, { ...before, startedAt: now, end: undefined });
  }

  of(taskId: TaskId): Container | undefined {
    return this.#byTask.get(taskId);
  }

  /** Ends it, once; false when it has ended already. */
  end(taskId: TaskId, end: NonNullable<Container['end']>): boolean {
    const container = this.#byTask.get(taskId);
    if (container === undefined || container.end !== undefined) return false;
    container.end = end;
    return true;
  }

  forget(taskId: TaskId): void {
    this.#byTask.delete(taskId);
  }

  runs(taskId: TaskId): boolean {
    const container = this.#byTask.get(taskId);
    return container !== undefined && container.end === undefined;
  }

  /** All that run on a node now. */
  *on(nodeId: NodeId): Iterable<Container> {
    for (const container of this.#byTask.values()) {
      if (container.nodeId === nodeId && container.end === undefined) yield container;
    }
  }

  /** All that run now. */
  *running(): Iterable<Container> {
    for (const container of this.#byTask.values()) if (container.end === undefined) yield container;
  }
}
