/** The cluster, its managers, its leader and its images, between the model and its messages. */
import type { covey } from '../../proto/messages.ts';
import type { Cluster, Image, Leader, Manager, RegistryLogin } from '../model/cluster.ts';
import type { Digest, Instant, NodeId } from '../model/ids.ts';
import { integer, text } from './fields.ts';

/** The cluster as a message, secrets included: for the store only. */
export function toCluster(cluster: Cluster): covey.v1.Cluster.$Properties {
  const { ca, ...rest } = cluster;
  return { ...rest, caCertificate: ca.certificate, caKey: ca.key, revoked: { ...cluster.revoked } };
}

/** The cluster of a message. @throws ClusterError `invalid` naming the field */
export function fromCluster(message: covey.v1.Cluster.$Properties): Cluster {
  return {
    id: text(message.id),
    createdAt: integer(message.createdAt, 'createdAt'),
    incarnation: integer(message.incarnation, 'incarnation'),
    ca: { certificate: text(message.caCertificate), key: text(message.caKey) },
    joinSecret: text(message.joinSecret),
    certificateLifetimeMs: integer(message.certificateLifetimeMs, 'certificateLifetimeMs'),
    failoverAfterMs: integer(message.failoverAfterMs, 'failoverAfterMs'),
    taskHistory: integer(message.taskHistory, 'taskHistory'),
    addressPool: text(message.addressPool),
    blockBits: integer(message.blockBits, 'blockBits'),
    revoked: fromRevoked(message.revoked ?? {}),
  };
}

function fromRevoked(revoked: Readonly<Record<string, number>>): Readonly<Record<NodeId, Instant>> {
  return Object.fromEntries(Object.entries(revoked).map(([id, until]) => [id, integer(until, `revoked.${id}`)]));
}

/** The manager as a message. */
export function toManager(manager: Manager): covey.v1.Manager.$Properties {
  return { ...manager };
}

/** The manager of a message. @throws ClusterError `invalid` naming the field */
export function fromManager(message: covey.v1.Manager.$Properties): Manager {
  return {
    id: text(message.id),
    address: text(message.address),
    version: text(message.version),
    startedAt: integer(message.startedAt, 'startedAt'),
  };
}

/** The leader as a message. */
export function toLeader(leader: Leader): covey.v1.Leader.$Properties {
  return { ...leader };
}

/** The leader of a message. @throws ClusterError `invalid` naming the field */
export function fromLeader(message: covey.v1.Leader.$Properties): Leader {
  return {
    managerId: text(message.managerId),
    address: text(message.address),
    since: integer(message.since, 'since'),
  };
}

/** The image as a message. */
export function toImage(image: Image): covey.v1.Image.$Properties {
  const { isInRegistry, ...rest } = image;
  return { ...rest, blobs: [...image.blobs], inRegistry: isInRegistry === true };
}

/** The image of a message. @throws ClusterError `invalid` naming the field */
export function fromImage(message: covey.v1.Image.$Properties): Image {
  return {
    reference: text(message.reference),
    digest: text(message.digest),
    size: integer(message.size, 'size'),
    blobs: (message.blobs ?? []).map((blob) => text<Digest>(blob)),
    loadedAt: integer(message.loadedAt, 'loadedAt'),
    os: text(message.os),
    arch: text(message.arch),
    ...(message.indexDigest ? { indexDigest: text<Digest>(message.indexDigest) } : {}),
    ...(message.inRegistry ? { isInRegistry: true as const } : {}),
  };
}

/** The login as a message, still encrypted. */
export function toRegistryLogin(login: RegistryLogin): covey.v1.RegistryLogin.$Properties {
  return { ...login };
}

/** The login of a message. @throws ClusterError `invalid` naming the field */
export function fromRegistryLogin(message: covey.v1.RegistryLogin.$Properties): RegistryLogin {
  return {
    registry: text(message.registry),
    username: text(message.username),
    sealed: text(message.sealed),
    createdAt: integer(message.createdAt, 'createdAt'),
  };
}
