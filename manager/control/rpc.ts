/** Control over gRPC: messages in, one verb each, messages out. Nothing is decided here. */

import { toImage } from '../../common/wire/cluster.ts';
import { fromContainerSpec } from '../../common/wire/container.ts';
import { present } from '../../common/wire/fields.ts';
import { fromServiceSpec } from '../../common/wire/service.ts';
import type { covey } from '../../proto/messages.ts';
import type { Control } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import { exec } from '../exec/exec.ts';
import type { ManagerImages } from '../images/manager-images.ts';
import type { ImagePusher } from '../images/push.ts';
import type { Registries } from '../images/registries.ts';
import type { SaveSource } from '../images/save.ts';
import type { LogLine, LogWish } from '../logs/broker.ts';
import type { EngineSource } from '../relay/engine.ts';
import { type CertificateRegister, clusterReport, joinToken, type StoreHealth } from './cluster.ts';
import { createContainer, listContainers, removeContainer, renameContainer } from './containers.ts';
import type { Context } from './context.ts';
import type { EventFeed } from './event-feed.ts';
import { archiveMessages, importImage, pullMessages, pushMessages, tagsOf } from './images.ts';
import { type LoginParts, login, logout } from './logins.ts';
import { findNode, findService } from './lookup.ts';
import {
  clusterMessage,
  imageMessages,
  nodeMessage,
  nodeMessages,
  progressMessage,
  removedMessage,
  serviceMessage,
  taskMessage,
} from './messages.ts';
import { pictureOfNode, removeNode, updateNode } from './nodes.ts';
import { watchProgress } from './progress-stream.ts';
import { createService, listServices, removeService, rollbackService, updateService } from './services.ts';
import { listTasks } from './tasks.ts';

/** Everything that the verbs need besides the store. */
export interface ControlParts extends Context, LoginParts {
  readonly images: ManagerImages;
  /** Brings a blob here from another manager. */
  readonly fetchBlob: SaveSource['fetch'];
  readonly pusher: ImagePusher;
  readonly registries: Pick<Registries, 'prove' | 'references'>;
  readonly events: EventFeed;
  readonly health: StoreHealth;
  readonly certificates: CertificateRegister;
  /** Lines from wherever the leader is. */
  readonly logs: (wish: LogWish, signal: AbortSignal) => AsyncIterable<LogLine>;
  /** What nodes do for users, through wherever the leader is. */
  readonly engine: EngineSource;
}

/** The handlers of the service. */
export function controlService(parts: ControlParts): Handlers<typeof Control> {
  const all = { ...services(parts), ...nodes(parts), ...images(parts), ...streams(parts), ...cluster(parts) };
  return { ...all, ...containers(parts) };
}

type Part<Name extends keyof Handlers<typeof Control>> = Pick<Handlers<typeof Control>, Name>;

function services(
  parts: ControlParts,
): Part<
  'createService' | 'updateService' | 'rollbackService' | 'removeService' | 'getService' | 'listServices' | 'listTasks'
> {
  const { store, clock } = parts;
  return {
    createService: async ({ spec }, { signal }) =>
      serviceMessage(store.view, await createService(parts, specOf(spec), signal)),
    updateService: async ({ id, version, spec }, { signal }) =>
      serviceMessage(store.view, await updateService(parts, { id, version, spec: specOf(spec) }, signal)),
    rollbackService: async ({ id, version }, { signal }) =>
      serviceMessage(store.view, await rollbackService(parts, { id, version }, signal)),
    removeService: async ({ ref }, { signal }) => {
      await removeService(parts, ref, signal);
      return {};
    },
    getService: async ({ ref }) => serviceMessage(store.view, findService(store.view, ref)),
    listServices: async ({ names, ids, labels }) => ({
      services: listServices(store.view, { names, ids, labels }).map((each) => serviceMessage(store.view, each)),
    }),
    listTasks: async ({ services, nodes }) => ({
      tasks: listTasks(store.view, { services, nodes }, clock.now()).map(taskMessage),
    }),
  };
}

function containers(
  parts: ControlParts,
): Part<'createContainer' | 'removeContainer' | 'renameContainer' | 'listContainers'> {
  return {
    createContainer: ({ node, spec }, { signal }) =>
      createContainer(parts, { node, spec: fromContainerSpec(present(spec, 'spec')) }, signal),
    removeContainer: async ({ ref, force, volumes }, { signal }) => {
      await removeContainer(parts, { ref, force, volumes }, signal);
      return {};
    },
    renameContainer: async ({ ref, name }, { signal }) => {
      await renameContainer(parts, { ref, name }, signal);
      return {};
    },
    listContainers: (_request, { signal }) => listContainers(parts, signal),
  };
}

function nodes(parts: ControlParts): Part<'getNode' | 'listNodes' | 'updateNode' | 'removeNode'> {
  const { store } = parts;
  return {
    getNode: async ({ ref }) => nodeMessage(store.view, pictureOfNode(store.view, findNode(store.view, ref))),
    listNodes: async () => ({ nodes: nodeMessages(store.view) }),
    updateNode: async (request, { signal }) => {
      const node = await updateNode(parts, request, signal);
      return nodeMessage(store.view, pictureOfNode(store.view, node));
    },
    removeNode: async ({ ref, force }, { signal }) => {
      await removeNode(parts, { ref, force }, signal);
      return {};
    },
  };
}

function images(
  parts: ControlParts,
): Part<
  | 'loadImage'
  | 'pullImage'
  | 'pushImage'
  | 'listTags'
  | 'listImages'
  | 'inspectImage'
  | 'tagImage'
  | 'removeImage'
  | 'saveImages'
  | 'importImage'
  | 'pruneImages'
> {
  return {
    loadImage: async (requests, { signal }) => imageMessages(await parts.images.load(chunksOf(requests), signal)),
    pullImage: (request, { signal }) => pullMessages(parts, request, signal),
    pushImage: ({ reference }, { signal }) => pushMessages(parts.pusher, reference, signal),
    listTags: async ({ name }, { signal }) => ({ references: [...(await tagsOf(parts, name, signal))] }),
    listImages: async ({ untagged }) => imageMessages(untagged ? parts.images.untagged() : parts.images.list()),
    inspectImage: async ({ ref }) => {
      const { image, references, manifest, config } = await parts.images.describe(ref);
      return { image: toImage(image), references: [...references], manifest, config };
    },
    tagImage: async ({ source, target }, { signal }) => toImage(await parts.images.tag(source, target, signal)),
    removeImage: async ({ ref, force }, { signal }) =>
      removedMessage(await parts.images.remove(ref, { force }, signal)),
    saveImages: ({ refs }, { signal }) => archiveMessages(parts, refs, signal),
    importImage: async (requests, { signal }) => toImage(await importImage(parts.images, requests, signal)),
    pruneImages: async ({ all, until, labels, labelsNot, plan }, { signal }) =>
      removedMessage(await parts.images.prune({ all, until, labels, labelsNot, plan }, signal)),
  };
}

function streams(parts: ControlParts): Part<'watchProgress' | 'watch' | 'logs' | 'exec'> {
  return {
    watchProgress: async function* ({ id, version }, { signal }) {
      for await (const progress of watchProgress(parts, { id, version }, signal)) yield progressMessage(progress);
    },
    watch: ({ types, sinceMs }, { signal }) => parts.events.watch({ types, sinceMs }, signal) as AsyncIterable<object>,
    logs: ({ refs, follow, tail, since }, { signal }) => parts.logs({ refs, follow, tail, since }, signal),
    exec: (inputs, { signal }) => exec(parts.engine, inputs, signal),
  };
}

function cluster(parts: ControlParts): Part<'getCluster' | 'getJoinToken' | 'login' | 'logout'> {
  const { store } = parts;
  return {
    getCluster: async (_request, { signal }) =>
      clusterMessage(store.view, await clusterReport(store.view, parts, signal)),
    login: async (request, { signal }) => ({ registry: await login(parts, request, signal) }),
    logout: async ({ server }, { signal }) => await logout(parts, server, signal),
    getJoinToken: async ({ rotate }, { signal }) => ({ token: await joinToken(parts, { rotate }, signal) }),
  };
}

function specOf(spec: covey.v1.ServiceSpec.$Properties | null | undefined) {
  return fromServiceSpec(present(spec, 'spec'));
}

async function* chunksOf(requests: AsyncIterable<covey.v1.LoadImageRequest>): AsyncIterable<Uint8Array> {
  for await (const { chunk } of requests) yield chunk;
}
