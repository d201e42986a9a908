/** What a node knows of its cluster's network: its own block, the other hosts, and who answers on the published ports. Pure. */
import type { NodeId, TaskId } from '../common/model/ids.ts';
import { integer, oneOf, present, text } from '../common/wire/fields.ts';
import { fromServiceRevision, toServiceRevision } from '../common/wire/service.ts';
import { fromTask, toTask } from '../common/wire/task.ts';
import type { covey } from '../proto/messages.ts';
import type { Assignment } from './assignment.ts';
import type { Peer, PublishedPort } from './network/network.ts';

/** Another node. */
export interface KnownNode extends Peer {
  /** Where it gives pieces of images; 0 = it does not. */
  readonly meshPort: number;
}

export interface ClusterMap {
  /** This node's block, CIDR; empty until it has one. */
  readonly block: string;
  /** The cluster's pool, CIDR; empty until known. */
  readonly pool: string;
  readonly peers: ReadonlyMap<NodeId, KnownNode>;
  /** By `protocol/port`. */
  readonly ports: ReadonlyMap<string, PublishedPort>;
}

export const EMPTY_MAP: ClusterMap = { block: '', pool: '', peers: new Map(), ports: new Map() };

type Change = Pick<
  covey.v1.Assignments.$Properties,
  'complete' | 'peers' | 'gonePeers' | 'ports' | 'gonePorts' | 'block' | 'pool'
>;

/** The map after a manager's message; the same object when nothing of it has changed. @throws ClusterError `invalid` */
export function changedMap(map: ClusterMap, change: Change): ClusterMap {
  const isSilent =
    change.complete !== true &&
    [change.peers, change.gonePeers, change.ports, change.gonePorts].every((part) => (part ?? []).length === 0) &&
    (change.block ?? map.block) === map.block &&
    (change.pool ?? map.pool) === map.pool;
  if (isSilent) return map;
  const from = change.complete === true ? EMPTY_MAP : map;
  const peers = new Map(from.peers);
  for (const id of change.gonePeers ?? []) peers.delete(id as NodeId);
  for (const peer of change.peers ?? []) peers.set(text<NodeId>(peer.nodeId), fromPeer(peer));
  const ports = new Map(from.ports);
  for (const key of change.gonePorts ?? []) ports.delete(key);
  for (const port of change.ports ?? []) ports.set(text(port.key), fromPort(port));
  return { block: change.block ?? from.block, pool: change.pool ?? from.pool, peers, ports };
}

/** The map as a change that makes it from nothing. */
export function mapAsChange(map: ClusterMap): Required<Pick<Change, 'peers' | 'ports'>> & Change {
  return {
    complete: true,
    block: map.block,
    pool: map.pool,
    peers: [...map.peers.values()].map((peer) => ({ ...peer })),
    ports: [...map.ports].map(([key, port]) => ({
      key,
      protocol: port.protocol,
      published: port.published,
      backends: port.backends.map((backend) => ({ ...backend })),
    })),
  };
}

/** The task of a message. @throws ClusterError `invalid` naming the field */
export function fromAssignment(message: covey.v1.TaskAssignment.$Properties): Assignment {
  return {
    task: fromTask(present(message.task, 'task')),
    revision: fromServiceRevision(present(message.revision, 'revision')),
    released: message.released ?? false,
  };
}

/** The assignment as a message. */
export function toAssignment(held: Assignment): covey.v1.TaskAssignment.$Properties {
  return { task: toTask(held.task), revision: toServiceRevision(held.revision), released: held.released };
}

/**
 * The ports as this node may serve them: without backends here that do not serve at this moment.
 * @param serves  false for a task of this node that is dead, unhealthy or leaving; true for all others
 */
export function servingPorts(map: ClusterMap, serves: (taskId: TaskId) => boolean): readonly PublishedPort[] {
  return [...map.ports.values()].map((port) =>
    port.backends.every((backend) => serves(backend.taskId))
      ? port
      : { ...port, backends: port.backends.filter((backend) => serves(backend.taskId)) },
  );
}

function fromPeer(message: covey.v1.Peer.$Properties): KnownNode {
  return {
    nodeId: text<NodeId>(message.nodeId),
    address: text(message.address),
    mac: text(message.mac),
    block: text(message.block),
    meshPort: integer(message.meshPort, 'meshPort'),
  };
}

function fromPort(message: covey.v1.PublishedPort.$Properties): PublishedPort {
  return {
    protocol: oneOf(message.protocol, ['tcp', 'udp'] as const, 'protocol'),
    published: integer(message.published, 'published'),
    backends: (message.backends ?? []).map((backend) => ({
      taskId: text<TaskId>(backend.taskId),
      address: text(backend.address),
      target: integer(backend.target, 'target'),
    })),
  };
}
