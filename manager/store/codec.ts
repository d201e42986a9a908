/** Stored values: every kind as the bytes of its message. The messages are `objects.proto`'s; upgrades go by its rules. */
import { ClusterError, messageOf } from '../../common/errors.ts';
import {
  fromCluster,
  fromImage,
  fromLeader,
  fromManager,
  fromRegistryLogin,
  toCluster,
  toImage,
  toLeader,
  toManager,
  toRegistryLogin,
} from '../../common/wire/cluster.ts';
import { fromContainerClaim, toContainerClaim } from '../../common/wire/container.ts';
import { text } from '../../common/wire/fields.ts';
import { fromNode, fromNodeStatus, toNode, toNodeStatus } from '../../common/wire/node.ts';
import {
  fromRollout,
  fromService,
  fromServiceRevision,
  toRollout,
  toService,
  toServiceRevision,
} from '../../common/wire/service.ts';
import { fromTask, fromTaskStatus, toTask, toTaskStatus } from '../../common/wire/task.ts';
import { covey } from '../../proto/messages.ts';
import type { Kind, Kinds, NameClaim } from './store.ts';

interface Codec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

interface MessageType<M, S> {
  encode(message: S): { finish(): Uint8Array };
  decode(bytes: Uint8Array): M;
}

function codec<T, M, S>(type: MessageType<M, S>, to: (value: T) => S, from: (message: M) => T): Codec<T> {
  return { encode: (value) => type.encode(to(value)).finish(), decode: (bytes) => from(type.decode(bytes)) };
}

const toNameClaim = (claim: NameClaim): covey.v1.NameClaim.$Properties => ({ ...claim });
const fromNameClaim = (message: covey.v1.NameClaim.$Properties): NameClaim => ({
  name: text(message.name),
  id: text(message.id),
});

const CODECS: { readonly [K in Kind]: Codec<Kinds[K]> } = {
  cluster: codec(covey.v1.Cluster, toCluster, fromCluster),
  manager: codec(covey.v1.Manager, toManager, fromManager),
  leader: codec(covey.v1.Leader, toLeader, fromLeader),
  service: codec(covey.v1.Service, toService, fromService),
  revision: codec(covey.v1.ServiceRevision, toServiceRevision, fromServiceRevision),
  rollout: codec(covey.v1.Rollout, toRollout, fromRollout),
  task: codec(covey.v1.Task, toTask, fromTask),
  'task-status': codec(covey.v1.TaskStatus, toTaskStatus, fromTaskStatus),
  node: codec(covey.v1.Node, toNode, fromNode),
  'node-status': codec(covey.v1.NodeStatus, toNodeStatus, fromNodeStatus),
  image: codec(covey.v1.Image, toImage, fromImage),
  login: codec(covey.v1.RegistryLogin, toRegistryLogin, fromRegistryLogin),
  name: codec(covey.v1.NameClaim, toNameClaim, fromNameClaim),
  container: codec(covey.v1.ContainerClaim, toContainerClaim, fromContainerClaim),
};

/** The value as it is stored. */
export function encode<K extends Kind>(kind: K, value: Kinds[K]): Uint8Array {
  return (CODECS[kind] as Codec<Kinds[K]>).encode(value);
}

/** @throws ClusterError `internal` naming kind and id when the bytes are none of that kind */
export function decode<K extends Kind>(kind: K, id: string, bytes: Uint8Array): Kinds[K] {
  try {
    return (CODECS[kind] as Codec<Kinds[K]>).decode(bytes);
  } catch (cause) {
    throw new ClusterError('internal', `stored ${kind} "${id}" cannot be read: ${messageOf(cause)}`, {
      hint: 'it was written by a newer version or is damaged; restore it from a backup or delete its key',
      cause,
    });
  }
}
