/**
 * Control's verbs of containers without a service. A claim says where each is, and holds its name; the node knows the rest. Claims
 * are made before the container and dropped after it, so that no container is ever without one; one whose node does not know
 * it any more (it went with its end) is dropped when that is found out.
 */
import { randomBytes } from 'node:crypto';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import {
  type ContainerClaim,
  type ContainerSpec,
  containerNameFlaw,
  containerNameKey,
  containerSpecFlaw,
} from '../../common/model/container.ts';
import { normalContainer } from '../../common/model/container-rules.ts';
import type { Digest, NodeId } from '../../common/model/ids.ts';
import { toContainerSpec } from '../../common/wire/container.ts';
import { fromPorts } from '../../common/wire/template.ts';
import type { covey } from '../../proto/messages.ts';
import { portClaims, portKey } from '../allocator/ports.ts';
import { findImage } from '../images/image-records.ts';
import type { EngineMethod, EngineSource } from '../relay/engine.ts';
import { nodeTarget } from '../relay/target.ts';
import { put, remove, type Stored, type View as StoreView, type Unit } from '../store/store.ts';
import { type Context, commitUnit, refusal } from './context.ts';
import { findContainer } from './lookup.ts';
import { nodeNameOf } from './names.ts';

type View = covey.v1.ContainerView.$Properties;

/** What the verbs need besides the store. */
export interface ContainerParts extends Context {
  readonly engine: EngineSource;
}

/** A node has so long to tell what is on it. */
const LIST_MS = 5_000;
/** A claim whose container its node has never had is somebody's who makes it, for as long as bringing an image may take. */
const MAKING_MS = 3_600_000;

/** @throws ClusterError `exists` (name), `not_found` (image, node), `invalid`, and what the node says; then nothing is left */
export async function createContainer(
  parts: ContainerParts,
  { node, spec }: { readonly node: string; readonly spec: ContainerSpec },
  signal: AbortSignal,
): Promise<View> {
  const { store, clock } = parts;
  const flaw = containerSpecFlaw(spec);
  if (flaw !== undefined) throw refusal(flaw);
  refusePublished(store.view, spec);
  const { nodeId } = nodeTarget(store.view, node);
  const pinned = withImage(parts, spec);
  const imageDigest = pinned.template.container.imageDigest as Digest;
  const id = randomBytes(32).toString('hex');
  const claim: ContainerClaim = {
    id,
    name: spec.name,
    nodeId,
    imageDigest,
    createdAt: clock.now(),
    ports: [],
    isMade: false,
  };
  await freeName(parts, spec.name, signal);
  await commitUnit(
    parts,
    () => {
      const owner = store.view.get('name', containerNameKey(spec.name));
      if (owner !== undefined) throw taken(spec.name, owner.value.id);
      return [put('container', id, claim, 0), put('name', containerNameKey(spec.name), { name: spec.name, id }, 0)];
    },
    signal,
  );
  try {
    const request = { node: nodeId, id, spec: toContainerSpec(pinned) };
    const view: View = await ask(parts, 'createContainer', request, signal);
    const ports = fromPorts(view.spec?.ports);
    await commitUnit(parts, () => [put('container', id, { ...claim, ports, isMade: true })], signal);
    return located(parts, nodeId, view);
  } catch (cause) {
    // Also when the caller has gone: a claim without a container would hold the name.
    await ask(
      parts,
      'removeContainer',
      { node: nodeId, container: id, force: true, volumes: true },
      AbortSignal.timeout(LIST_MS),
    ).catch(() => {});
    await drop(parts, id, AbortSignal.timeout(LIST_MS));
    throw cause;
  }
}

/** @throws ClusterError `not_found`, `conflict` for one that runs, `unavailable` when its node cannot be asked */
export async function removeContainer(
  parts: ContainerParts,
  { ref, force, volumes }: { readonly ref: string; readonly force: boolean; readonly volumes: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { value: claim } = findContainer(parts.store.view, ref);
  try {
    if (!isNodeGone(parts, claim.nodeId)) {
      await ask(parts, 'removeContainer', { node: claim.nodeId, container: claim.id, force, volumes }, signal);
    } else if (!force) {
      throw new ClusterError('unavailable', `container "${claim.name}" is on a node that is gone`, {
        hint: 'add --force to forget it',
      });
    }
  } catch (cause) {
    // It went with its end.
    if (toClusterError(cause).code !== 'not_found') throw cause;
  }
  await drop(parts, claim.id, signal);
}

/** @throws ClusterError `exists`, `not_found`, `invalid` */
export async function renameContainer(
  parts: ContainerParts,
  { ref, name }: { readonly ref: string; readonly name: string },
  signal: AbortSignal,
): Promise<void> {
  const { store } = parts;
  const flaw = containerNameFlaw(name);
  if (flaw !== undefined) throw refusal(flaw);
  await freeName(parts, name, signal);
  const { id, nodeId } = findContainer(store.view, ref).value;
  await ask(parts, 'inspectContainer', { node: nodeId, container: id }, signal);
  await commitUnit(
    parts,
    () => {
      const { value: claim, rev } = findContainer(store.view, id);
      const owner = store.view.get('name', containerNameKey(name));
      if (owner !== undefined) throw taken(name, owner.value.id);
      return [
        put('container', id, { ...claim, name }, rev),
        remove('name', containerNameKey(claim.name)),
        put('name', containerNameKey(name), { name, id }, 0),
      ];
    },
    signal,
  );
  await ask(parts, 'renameContainer', { node: nodeId, container: id, name }, signal);
}

/** Asks all nodes at once; newest first. What is on a node that does not answer is there as its claim tells it. */
export async function listContainers(
  parts: ContainerParts,
  signal: AbortSignal,
): Promise<covey.v1.ContainerList.$Properties> {
  const { store, clock } = parts;
  const nodes = [...store.view.all('node')].map(({ value }) => value.id);
  // Before the nodes are asked: one that is made while they answer is not missing.
  const claims = [...store.view.all('container')];
  const answers = await Promise.all(nodes.map((nodeId) => askNode(parts, nodeId, signal)));
  const containers = answers.flatMap(({ containers: some = [] }) => some);
  const known = new Set(containers.map(({ id }) => id));
  const told = new Set(answers.filter(({ refusal: why }) => why === undefined).map(({ nodeId }) => nodeId));
  const unasked = answers.flatMap(({ refusal: why }) => (why === undefined ? [] : [why]));
  for (const { value: claim } of claims) {
    if (known.has(claim.id)) continue;
    const isGone = store.view.get('node', claim.nodeId) === undefined;
    if (isGone || (told.has(claim.nodeId) && !isBeingMade(claim, clock.now()))) await drop(parts, claim.id, signal);
    else if (!told.has(claim.nodeId)) containers.push(unknown(parts, claim));
  }
  return { containers: containers.toSorted((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0)), unasked };
}

interface NodeAnswer {
  readonly nodeId: NodeId;
  readonly containers?: readonly View[];
  readonly refusal?: covey.v1.NodeRefusal.$Properties;
}

async function askNode(parts: ContainerParts, nodeId: NodeId, signal: AbortSignal): Promise<NodeAnswer> {
  try {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(LIST_MS)]);
    const { containers = [] } = (await ask(
      parts,
      'listContainers',
      { node: nodeId },
      inTime,
    )) as covey.v1.ContainerViews.$Properties;
    return { nodeId, containers: containers.map((view) => located(parts, nodeId, view)) };
  } catch (cause) {
    signal.throwIfAborted();
    const { name = '', message } = cause as Error;
    const reason = name === 'TimeoutError' ? 'it does not answer' : message;
    return { nodeId, refusal: { nodeId, hostname: nodeNameOf(parts.store.view, nodeId), reason } };
  }
}

function unknown(parts: ContainerParts, claim: ContainerClaim): View {
  const image = [...parts.store.view.all('image')].find(({ value }) => value.digest === claim.imageDigest)?.value
    .reference;
  const spec = { name: claim.name, template: { container: { image: image ?? claim.imageDigest } } };
  const { id, name, createdAt } = claim;
  return located(parts, claim.nodeId, { id, name, createdAt, state: 'unknown', spec });
}

function located(parts: ContainerParts, nodeId: NodeId, view: View): View {
  return { ...view, nodeId, nodeName: nodeNameOf(parts.store.view, nodeId) };
}

function withImage({ store }: ContainerParts, spec: ContainerSpec): ContainerSpec {
  const { container } = spec.template;
  const { reference, digest } = findImage(store.view, container.image);
  const image = reference.includes('@') ? container.image : reference;
  return {
    ...spec,
    template: { ...spec.template, container: normalContainer({ ...container, image, imageDigest: digest }) },
  };
}

/** A name whose container has gone with its end, or with its node, is free. */
async function freeName(parts: ContainerParts, name: string, signal: AbortSignal): Promise<void> {
  const { store } = parts;
  const id = store.view.get('name', containerNameKey(name))?.value.id;
  const claim = id === undefined ? undefined : store.view.get('container', id)?.value;
  if (id === undefined) return;
  if (claim === undefined || store.view.get('node', claim.nodeId) === undefined) return await drop(parts, id, signal);
  try {
    await ask(parts, 'inspectContainer', { node: claim.nodeId, container: id }, signal);
  } catch (cause) {
    const isGone = toClusterError(cause).code === 'not_found' && !isBeingMade(claim, parts.clock.now());
    if (isGone) return await drop(parts, id, signal);
  }
  throw taken(name, id);
}

/** What a service publishes on every node no container can have on its own. */
function refusePublished(view: StoreView, { ports }: ContainerSpec): void {
  const services = portClaims(view).filter(({ port }) => port.mode === 'ingress');
  for (const port of ports) {
    const owner = services.find((claim) => port.published !== 0 && portKey(claim.port) === portKey(port));
    if (owner === undefined) continue;
    throw new ClusterError(
      'exists',
      `port ${portKey(port)} is published by service "${owner.serviceName}" on every node`,
      {
        field: 'ports',
        hint: 'choose another port',
      },
    );
  }
}

function isBeingMade({ isMade, createdAt }: ContainerClaim, now: number): boolean {
  return !isMade && createdAt + MAKING_MS > now;
}

/** Drops the claim of a container that its node knows nothing of any more. @throws ClusterError `unavailable` when that cannot be asked */
export async function dropIfGone(parts: ContainerParts, id: string, signal: AbortSignal): Promise<void> {
  const claim = parts.store.view.get('container', id)?.value;
  if (claim === undefined) return;
  const inTime = AbortSignal.any([signal, AbortSignal.timeout(LIST_MS)]);
  try {
    await ask(parts, 'inspectContainer', { node: claim.nodeId, container: id }, inTime);
  } catch (cause) {
    if (toClusterError(cause).code !== 'not_found') throw cause;
    await drop(parts, id, signal);
  }
}

/**
 * Makes a claim for a container of which there is none. When its name is another's by now, the beginning of its id makes one of it.
 * @throws ClusterError `not_found` when its node knows nothing of it either, `unavailable` when that cannot be asked
 */
export async function claimAgain(
  parts: ContainerParts,
  { id, nodeId }: Pick<ContainerClaim, 'id' | 'nodeId'>,
  signal: AbortSignal,
): Promise<void> {
  const { store } = parts;
  if (store.view.get('container', id) !== undefined) return;
  const inTime = AbortSignal.any([signal, AbortSignal.timeout(LIST_MS)]);
  const found: View = await ask(parts, 'inspectContainer', { node: nodeId, container: id }, inTime);
  const { name: own = '', createdAt = 0, spec } = found;
  const ports = fromPorts(spec?.ports);
  const imageDigest = (spec?.template?.container?.imageDigest ?? '') as Digest;
  const name =
    store.view.get('name', containerNameKey(own)) === undefined ? own : `${own.slice(0, 100)}-${id.slice(0, 12)}`;
  const claim: ContainerClaim = { id, name, nodeId, imageDigest, createdAt, ports, isMade: true };
  const plan = (): Unit => {
    const owner = store.view.get('name', containerNameKey(name));
    if (owner !== undefined) throw taken(name, owner.value.id);
    return [put('container', id, claim, 0), put('name', containerNameKey(name), { name, id }, 0)];
  };
  await commitUnit(parts, plan, signal);
  if (name !== own) await ask(parts, 'renameContainer', { node: nodeId, container: id, name }, inTime);
}

/** Drops what is left of a claim. */
async function drop(parts: ContainerParts, id: string, signal: AbortSignal): Promise<void> {
  const { store } = parts;
  const plan = (): Unit => {
    const claim: Stored<ContainerClaim> | undefined = store.view.get('container', id);
    const name = claim === undefined ? undefined : store.view.get('name', containerNameKey(claim.value.name));
    return [
      ...(claim === undefined ? [] : [remove('container', id, claim.rev)]),
      ...(claim !== undefined && name?.value.id === id
        ? [remove('name', containerNameKey(claim.value.name), name.rev)]
        : []),
    ];
  };
  if (plan().length > 0) await commitUnit(parts, plan, signal);
}

function isNodeGone({ store }: ContainerParts, nodeId: NodeId): boolean {
  return store.view.get('node', nodeId) === undefined || store.view.get('node-status', nodeId)?.value.state === 'lost';
}

function taken(name: string, id: string): ClusterError {
  return new ClusterError('exists', `the container name "${name}" is already in use by container ${id.slice(0, 12)}`, {
    field: 'name',
    hint: 'remove or rename that container to use the name again',
  });
}

async function ask(parts: ContainerParts, method: EngineMethod, request: object, signal: AbortSignal): Promise<object> {
  for await (const answer of parts.engine(method, once(request), signal)) return answer;
  throw new ClusterError('internal', `a node answered nothing to ${method}`);
}

async function* once(request: object): AsyncIterable<object> {
  yield request;
}
