/** Nodes, their statuses and epochs, between the model and its messages. */
import type { covey } from '../../proto/messages.ts';
import type { Epoch, Node, NodeDescription, NodeStatus } from '../model/node.ts';
import { integer, labels, maybe, oneOf, present, text, within } from './fields.ts';

const AVAILABILITIES = ['active', 'pause', 'drain'] as const;
const ROLES = ['worker', 'manager'] as const;
const NODE_STATES = ['ready', 'suspect', 'unreachable', 'lost'] as const;

/** The node as a message. */
export function toNode(node: Node): covey.v1.Node.$Properties {
  return { ...node, labels: labels(node.labels) };
}

/** The node of a message. @throws ClusterError `invalid` naming the field */
export function fromNode(message: covey.v1.Node.$Properties): Node {
  return {
    id: text(message.id),
    availability: oneOf(message.availability, AVAILABILITIES, 'availability'),
    role: oneOf(message.role, ROLES, 'role'),
    labels: labels(message.labels),
    createdAt: integer(message.createdAt, 'createdAt'),
    ...maybe('block', message.block, text),
  };
}

/** The description as a message. */
export function toNodeDescription(description: NodeDescription): covey.v1.NodeDescription.$Properties {
  return { ...description };
}

/** The description of a message. @throws ClusterError `invalid` naming the field */
export function fromNodeDescription(message: covey.v1.NodeDescription.$Properties): NodeDescription {
  return {
    hostname: text(message.hostname),
    address: text(message.address),
    mac: text(message.mac),
    os: text(message.os),
    arch: text(message.arch),
    nanoCpus: integer(message.nanoCpus, 'nanoCpus'),
    memoryBytes: integer(message.memoryBytes, 'memoryBytes'),
    version: text(message.version),
    meshPort: integer(message.meshPort, 'meshPort'),
  };
}

/** The epoch as a message. */
export function toEpoch(epoch: Epoch): covey.v1.Epoch.$Properties {
  return { ...epoch };
}

/** The epoch of a message. @throws ClusterError `invalid` naming the field */
export function fromEpoch(message: covey.v1.Epoch.$Properties): Epoch {
  return {
    incarnation: integer(message.incarnation, 'incarnation'),
    reign: integer(message.reign, 'reign'),
  };
}

/** The status as a message. */
export function toNodeStatus(status: NodeStatus): covey.v1.NodeStatus.$Properties {
  return { ...status, epoch: toEpoch(status.epoch), description: toNodeDescription(status.description) };
}

/** The status of a message. @throws ClusterError `invalid` naming the field */
export function fromNodeStatus(message: covey.v1.NodeStatus.$Properties): NodeStatus {
  const epoch = present(message.epoch, 'epoch');
  const description = present(message.description, 'description');
  return {
    nodeId: text(message.nodeId),
    state: oneOf(message.state, NODE_STATES, 'state'),
    since: integer(message.since, 'since'),
    ...maybe('silentSince', message.silentSince, integer),
    message: text(message.message),
    epoch: within('epoch', () => fromEpoch(epoch)),
    description: within('description', () => fromNodeDescription(description)),
    unfit: text(message.unfit),
  };
}
