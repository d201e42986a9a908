/**
 * The leaving tasks that wait for the nodes' acks. In: changes of tasks, the sessions. Out: the tasks that may go. A
 * successor learns it anew: it sees the same tasks leaving and waits for its own acks.
 */
import type { Instant, NodeId, TaskId } from '../../common/model/ids.ts';
import { isTerminal, isWanted, type Task } from '../../common/model/task.ts';
import type { Change, View } from '../store/store.ts';
import { isPublished } from './picture.ts';
import { type Departure, deadlineOf, mayGo, type Witness } from './release.ts';

interface Leaving extends Departure {
  readonly nodeId: NodeId;
}

export class Departures {
  readonly #waiting = new Map<TaskId, Leaving>();
  readonly #released = new Set<TaskId>();

  /** Leaving tasks that may drain; forgotten when they have ended. */
  get released(): ReadonlySet<TaskId> {
    return this.#released;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** When, after now, the first of the waiting no longer waits for nodes in session. */
  deadlineAfter(now: Instant): Instant | undefined {
    let first: Instant | undefined;
    for (const leaving of this.#waiting.values()) {
      const deadline = deadlineOf(leaving);
      if (deadline > now) first = Math.min(first ?? deadline, deadline);
    }
    return first;
  }

  /** Takes note of tasks that began to leave, or ended; `departure` is the number in which no map has them any more. */
  follow(view: View, changes: readonly Change[] | 'all', departure: Departure): void {
    for (const task of changes === 'all' ? everyTask(view) : tasksIn(view, changes)) {
      if (typeof task === 'string') this.#forget(task);
      else if (!isLeaving(view, task)) this.#forget(task.id);
      else if (!this.#waiting.has(task.id) && !this.#released.has(task.id) && task.nodeId !== undefined) {
        this.#waiting.set(task.id, { ...departure, nodeId: task.nodeId });
      }
    }
  }

  /** Releases whoever may go. Returns the nodes that have to be told. */
  free(view: View, sessions: ReadonlyMap<NodeId, Witness>, now: Instant): ReadonlySet<NodeId> {
    const nodes = new Set<NodeId>();
    if (this.#waiting.size === 0) return nodes;
    const awaited = absent(view, sessions);
    for (const [id, leaving] of this.#waiting) {
      if (!mayGo(leaving, sessions.values(), awaited, now)) continue;
      this.#waiting.delete(id);
      this.#released.add(id);
      nodes.add(leaving.nodeId);
    }
    return nodes;
  }

  #forget(id: TaskId): void {
    this.#waiting.delete(id);
    this.#released.delete(id);
  }
}

function isLeaving(view: View, task: Task): boolean {
  if (isWanted(task) || task.nodeId === undefined || !isPublished(view, task)) return false;
  const status = view.get('task-status', task.id)?.value;
  return status === undefined || !isTerminal(status.state);
}

/**
 * Nodes that were ready under an earlier leader and have not opened a session with this one: their maps still stand. They
 * come back, or liveness makes them suspect when their silence window is over, so nobody waits for ever.
 */
function absent(view: View, sessions: ReadonlyMap<NodeId, Witness>): number {
  let count = 0;
  for (const { value } of view.all('node-status')) {
    if (value.state === 'ready' && !sessions.has(value.nodeId)) count += 1;
  }
  return count;
}

function* everyTask(view: View): Iterable<Task> {
  for (const { value } of view.all('task')) yield value;
}

/** The tasks that changes are about as they are now; the id alone of one that has been deleted. */
function* tasksIn(view: View, changes: readonly Change[]): Iterable<Task | TaskId> {
  for (const { kind, id } of changes) {
    if (kind === 'task' || kind === 'task-status') yield view.get('task', id)?.value ?? (id as TaskId);
  }
}
