/** What users may do with nodes. */
import { ClusterError } from '../../common/errors.ts';
import { labelsFlaw } from '../../common/model/container-rules.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Availability, Node, NodeStatus } from '../../common/model/node.ts';
import { revisionKey } from '../../common/model/service.ts';
import { isTerminal, isWanted } from '../../common/model/task.ts';
import { put, remove, type Stored, type Unit, type View, type Write } from '../store/store.ts';
import { type Context, caughtUp, commitUnit, refusal } from './context.ts';
import { findNode } from './lookup.ts';

const AVAILABILITIES: readonly Availability[] = ['active', 'pause', 'drain'];
/** A removed node's certificate is refused for its lifetime and this much longer, as in swarmkit. */
const REVOKED_BEYOND_MS = 7 * 24 * 3_600_000;

/** A node with what the cluster sees of it and what its tasks take. */
export interface NodePicture {
  readonly node: Stored<Node>;
  /** Absent: joined, never seen. */
  readonly status: NodeStatus | undefined;
  /** Wanted and bound here. */
  readonly tasks: number;
  readonly reservedNanoCpus: number;
  readonly reservedMemoryBytes: number;
}

/** All nodes by hostname, then id. */
export function listNodes(view: View): readonly NodePicture[] {
  const hostname = (picture: NodePicture): string => picture.status?.description.hostname ?? '';
  return [...view.all('node')]
    .map((node) => pictureOfNode(view, node))
    .sort((a, b) => {
      if (hostname(a) !== hostname(b)) return hostname(a) < hostname(b) ? -1 : 1;
      return a.node.value.id < b.node.value.id ? -1 : 1;
    });
}

/** One node. Reservations count until a task has ended, wanted or not. */
export function pictureOfNode(view: View, node: Stored<Node>): NodePicture {
  let tasks = 0;
  let reservedNanoCpus = 0;
  let reservedMemoryBytes = 0;
  for (const { value: task } of view.tasksOn(node.value.id)) {
    const state = view.get('task-status', task.id)?.value.state;
    if (state !== undefined && isTerminal(state)) continue;
    if (isWanted(task)) tasks += 1;
    const reserved = view.get('revision', revisionKey(task.serviceId, task.revision))?.value.template.reservations;
    reservedNanoCpus += reserved?.nanoCpus ?? 0;
    reservedMemoryBytes += reserved?.memoryBytes ?? 0;
  }
  const status = view.get('node-status', node.value.id)?.value;
  return { node, status, tasks, reservedNanoCpus, reservedMemoryBytes };
}

export interface NodeChange {
  readonly id: string;
  /** 0: whatever is there. */
  readonly version: number;
  /** Empty: as it is. */
  readonly availability: string;
  readonly labelsAdd: Readonly<Record<string, string>>;
  readonly labelsRm: readonly string[];
}

/**
 * Changes availability and labels.
 * @throws ClusterError `conflict` naming the current version when `version` is stale, `invalid` for an unknown
 *   availability or a label to remove that is not there
 */
export async function updateNode(context: Context, change: NodeChange, signal: AbortSignal): Promise<Stored<Node>> {
  const flaw = labelsFlaw(change.labelsAdd, 'labels');
  if (flaw !== undefined) throw refusal(flaw);
  await caughtUp(context, change.version, signal);
  const plan = (): Unit => {
    const { value, rev } = findNode(context.store.view, change.id);
    if (change.version !== 0 && change.version !== rev) {
      throw new ClusterError('conflict', `node "${change.id}" is at version ${rev}, not ${change.version}`, {
        field: 'version',
        hint: 'read it again and repeat the change',
      });
    }
    const labels: Record<string, string> = { ...value.labels };
    for (const key of change.labelsRm) {
      if (!Object.hasOwn(labels, key)) {
        throw new ClusterError('invalid', `node "${change.id}" has no label "${key}"`, { field: 'labelsRm' });
      }
      delete labels[key];
    }
    Object.assign(labels, change.labelsAdd);
    return [put('node', value.id, { ...value, labels, availability: availabilityOf(change, value) }, rev)];
  };
  await commitUnit(context, plan, signal);
  return findNode(context.store.view, change.id);
}

/**
 * Removes a node and refuses its certificate from then on. Its tasks are orphaned and made anew elsewhere.
 * @throws ClusterError `invalid` while it is ready, unless forced
 */
export async function removeNode(
  context: Context,
  request: { readonly ref: string; readonly force: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { store, clock } = context;
  const plan = (): Unit => {
    const { view } = store;
    const { value: node, rev } = findNode(view, request.ref);
    const status = view.get('node-status', node.id);
    if (status?.value.state === 'ready' && !request.force) {
      throw new ClusterError('invalid', `node "${request.ref}" is ready and still runs its tasks`, {
        hint: 'let it leave first (covey-agent leave on the host), or add --force',
      });
    }
    return [
      remove('node', node.id, rev),
      ...(status === undefined ? [] : [remove('node-status', node.id)]),
      ...revocation(view, node.id, clock.now()),
    ];
  };
  await commitUnit(context, plan, signal);
}

function revocation(view: View, nodeId: NodeId, now: number): readonly Write[] {
  const cluster = view.get('cluster', 'default');
  if (cluster === undefined) return [];
  const { revoked, certificateLifetimeMs } = cluster.value;
  // Those whose certificates have ended by themselves need no mention any more.
  const still = Object.entries(revoked).filter(([, until]) => until > now);
  const all = { ...Object.fromEntries(still), [nodeId]: now + certificateLifetimeMs + REVOKED_BEYOND_MS };
  return [put('cluster', 'default', { ...cluster.value, revoked: all }, cluster.rev)];
}

function availabilityOf(change: NodeChange, before: Node): Availability {
  if (change.availability === '') return before.availability;
  const found = AVAILABILITIES.find((each) => each === change.availability);
  if (found !== undefined) return found;
  throw new ClusterError('invalid', `availability "${change.availability}" is unknown`, {
    field: 'availability',
    hint: `use ${AVAILABILITIES.join(', ')}`,
  });
}
