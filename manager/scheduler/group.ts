/** Tasks with equal requirements are placed together: the nodes are looked at once a group, not once a task. */
import type { Instant, NodeId, ServiceId } from '../../common/model/ids.ts';
import { isWanted, type Task } from '../../common/model/task.ts';
import type { Stored, View } from '../store/store.ts';
import { type Candidate, FAILURE_WINDOW_MS } from './rank.ts';
import { hasEnded, type Seats, type Want } from './seats.ts';

/** Tasks of one service revision that wait for a node, in the order in which they get one. */
export interface Group {
  readonly serviceId: ServiceId;
  readonly revision: number;
  readonly tasks: readonly Stored<Task>[];
}

/** What the nodes have of one service already. */
interface Standing {
  slots: number;
  ofService: number;
  failures: number;
}

/** True for a task that the scheduler has to find a node for. */
export function isWaiting(task: Task): boolean {
  return task.nodeId === undefined && isWanted(task);
}

/** All waiting tasks by what they need; groups and tasks in an order that depends on nothing but their contents. */
export function groupsOf(view: View): readonly Group[] {
  const groups = new Map<string, { serviceId: ServiceId; revision: number; tasks: Stored<Task>[] }>();
  for (const stored of view.all('task')) {
    const task = stored.value;
    if (!isWaiting(task)) continue;
    const key = `${task.serviceId}.${task.revision}`;
    const group = groups.get(key);
    if (group === undefined) {
      groups.set(key, { serviceId: task.serviceId, revision: task.revision, tasks: [stored] });
    } else {
      group.tasks.push(stored);
    }
  }
  for (const group of groups.values()) group.tasks.sort(byUrgency);
  return [...groups.values()].sort((a, b) =>
    a.serviceId === b.serviceId ? a.revision - b.revision : a.serviceId < b.serviceId ? -1 : 1,
  );
}

/** Every node with what it has of the group's service already, fitting or not. */
export function candidatesOf(view: View, want: Want, seats: Seats, now: Instant): readonly Candidate[] {
  const standings = standingsOf(view, want, now);
  return [...seats.all()].map((seat) => {
    const { failures = 0, slots = 0, ofService = 0 } = standings.get(seat.node.value.id) ?? {};
    const placed = seats.placedOn(seat, want.serviceId);
    return { seat, failures, slots: slots + placed, ofService: ofService + placed };
  });
}

/**
 * One pass over the service's tasks. A slot with two wanted tasks (started first, or being moved) is spread by its newer
 * one, since the older one is about to go; the limit per node counts both.
 */
function standingsOf(view: View, want: Want, now: Instant): ReadonlyMap<NodeId, Standing> {
  const standings = new Map<NodeId, Standing>();
  const at = (nodeId: NodeId): Standing => {
    const standing = standings.get(nodeId) ?? { slots: 0, ofService: 0, failures: 0 };
    standings.set(nodeId, standing);
    return standing;
  };
  const newest = new Map<number, Task>();
  for (const { value: task } of view.tasksOf(want.serviceId)) {
    const ended = hasEnded(view, task);
    if (task.nodeId !== undefined && ended && failedLately(view, task, want, now)) at(task.nodeId).failures++;
    if (!isWanted(task) || ended) continue;
    if (task.nodeId !== undefined) at(task.nodeId).ofService++;
    const other = newest.get(task.slot);
    if (other === undefined || isNewer(task, other)) newest.set(task.slot, task);
  }
  for (const task of newest.values()) {
    if (task.nodeId !== undefined) at(task.nodeId).slots++;
  }
  return standings;
}

function failedLately(view: View, task: Task, want: Want, now: Instant): boolean {
  if (task.revision !== want.revision) return false;
  const status = view.get('task-status', task.id)?.value;
  return (
    status !== undefined &&
    (status.state === 'failed' || status.state === 'rejected') &&
    status.appliedAt > now - FAILURE_WINDOW_MS
  );
}

function isNewer(a: Task, b: Task): boolean {
  return a.createdAt === b.createdAt ? a.id > b.id : a.createdAt > b.createdAt;
}

/** Released tasks before held ones, then by slot: what can serve soonest gets the best node. */
function byUrgency({ value: a }: Stored<Task>, { value: b }: Stored<Task>): number {
  const held = Number(a.desired === 'ready') - Number(b.desired === 'ready');
  return held || a.slot - b.slot || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
}
