/**
 * What one node has to do and to know, and the message that takes it from one such set to the next. PURE.
 * In: the view, the picture of the cluster and the node. Out: a set, or the difference of two sets as a message. It must
 * never show a node another node's tasks (I12).
 */
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { Epoch } from '../../common/model/node.ts';
import { revisionKey, type ServiceRevision } from '../../common/model/service.ts';
import { isTerminal, isWanted, type Task } from '../../common/model/task.ts';
import { toServiceRevision } from '../../common/wire/service.ts';
import { toTask } from '../../common/wire/task.ts';
import type { covey } from '../../proto/messages.ts';
import type { View } from '../store/store.ts';
import { isPublished, type Picture } from './picture.ts';

type Assignments = covey.v1.Assignments.$Properties;

/** One task as its node is told of it. */
export interface OwnTask {
  readonly task: Task;
  readonly revision: ServiceRevision;
  /** It may drain and stop: nobody sends it new connections any more. */
  readonly released: boolean;
}

/** All that a node has been told. */
export interface AssignmentSet {
  readonly nodeId: NodeId;
  readonly block: string;
  readonly tasks: ReadonlyMap<TaskId, OwnTask>;
  readonly picture: Picture;
}

export interface SetOptions {
  readonly picture: Picture;
  /** Leaving tasks that every reachable node has taken out of its maps. */
  readonly released: ReadonlySet<TaskId>;
  /** Test switch: leaving tasks are released at once and drain for no time. */
  readonly skipDrain: boolean;
}

/** The set of one node. Unbound tasks and those whose revision is gone are nobody's. */
export function assignmentSet(view: View, nodeId: NodeId, options: SetOptions): AssignmentSet {
  const tasks = new Map<TaskId, OwnTask>();
  for (const { value: task } of view.tasksOn(nodeId)) {
    const revision = view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
    if (revision === undefined) continue;
    tasks.set(task.id, {
      task,
      revision: options.skipDrain ? withoutDrain(revision) : revision,
      released: isReleased(view, task, options),
    });
  }
  return { nodeId, block: view.get('node', nodeId)?.value.block ?? '', tasks, picture: options.picture };
}

/** Everything, for a session that has just begun. */
export function complete(view: View, set: AssignmentSet): Assignments {
  const { picture, nodeId } = set;
  return {
    complete: true,
    tasks: [...set.tasks.values()].map((own) => message(asEnded(view, own))),
    peers: [...picture.peers.values()].filter((peer) => peer.nodeId !== nodeId),
    ports: [...picture.ports.values()].map(mutable),
    block: set.block,
    pool: picture.pool,
  };
}

/** What takes `before` to `after`; undefined when there is nothing to tell. Both are of one node. */
export function difference(before: AssignmentSet, after: AssignmentSet): Assignments | undefined {
  const tasks = [...after.tasks.values()].filter((own) => !isSameOwn(before.tasks.get(own.task.id), own));
  const goneTasks = [...before.tasks.keys()].filter((id) => !after.tasks.has(id));
  const peers = changes(before.picture.peers, after.picture.peers);
  const ports = changes(before.picture.ports, after.picture.ports);
  const delta: Assignments = {
    complete: false,
    tasks: tasks.map(message),
    goneTasks,
    peers: peers.set.filter((peer) => peer.nodeId !== after.nodeId),
    gonePeers: peers.gone.filter((id) => id !== after.nodeId),
    ports: ports.set.map(mutable),
    gonePorts: [...ports.gone],
    ...(before.block === after.block ? {} : { block: after.block }),
    ...(before.picture.pool === after.picture.pool ? {} : { pool: after.picture.pool }),
  };
  return isEmpty(delta) ? undefined : delta;
}

/** The message with what makes it one of a sequence. */
export function numbered(assignments: Assignments, epoch: Epoch, from: number, revision: number): Assignments {
  return { ...assignments, epoch, from, revision };
}

function isReleased(view: View, task: Task, { released, skipDrain }: SetOptions): boolean {
  if (isWanted(task)) return false;
  if (skipDrain || released.has(task.id)) return true;
  const status = view.get('task-status', task.id)?.value;
  return (status !== undefined && isTerminal(status.state)) || !isPublished(view, task);
}

/**
 * A task that has ended is told to an agent that may have lost its memory as one to be stopped, lest it begin again (I4).
 * Only in complete sets: an agent that goes on knows how its tasks ended.
 */
function asEnded(view: View, own: OwnTask): OwnTask {
  const status = view.get('task-status', own.task.id)?.value;
  if (status === undefined || !isTerminal(status.state) || !isWanted(own.task)) return own;
  return { ...own, task: { ...own.task, desired: 'shutdown' }, released: true };
}

function isSameOwn(before: OwnTask | undefined, after: OwnTask): boolean {
  return before !== undefined && before.task === after.task && before.released === after.released;
}

function message({ task, revision, released }: OwnTask): covey.v1.TaskAssignment.$Properties {
  return { task: toTask(task), revision: toServiceRevision(revision), released };
}

function mutable<T extends { readonly backends: readonly object[] }>(
  port: T,
): T & { backends: T['backends'][number][] } {
  return { ...port, backends: [...port.backends] };
}

function isEmpty(delta: Assignments): boolean {
  const lists = [delta.tasks, delta.goneTasks, delta.peers, delta.gonePeers, delta.ports, delta.gonePorts];
  return lists.every((list) => (list ?? []).length === 0) && delta.block === undefined && delta.pool === undefined;
}

interface Changes<K, V> {
  readonly set: readonly V[];
  readonly gone: readonly K[];
}

/** The last difference asked for from each map: all sessions ask for the same one after another. */
const memo = new WeakMap<object, { readonly after: object; readonly changes: Changes<unknown, unknown> }>();

function changes<K, V>(before: ReadonlyMap<K, V>, after: ReadonlyMap<K, V>): Changes<K, V> {
  if (before === after) return { set: [], gone: [] };
  const known = memo.get(before);
  if (known?.after === after) return known.changes as Changes<K, V>;
  const found: Changes<K, V> = {
    set: [...after].filter(([key, value]) => before.get(key) !== value).map(([, value]) => value),
    gone: [...before.keys()].filter((key) => !after.has(key)),
  };
  memo.set(before, { after, changes: found });
  return found;
}

function withoutDrain(revision: ServiceRevision): ServiceRevision {
  const { template } = revision;
  return { ...revision, template: { ...template, container: { ...template.container, drainMs: 0 } } };
}
