/**
 * What every node has to know of the whole cluster: its peers and its published ports. PURE.
 * In: the view, the picture before and which services may have changed. Out: a picture whose unchanged parts keep their
 * identity, so that two pictures are compared cheaply. It must never show a backend that is not ready to serve.
 */
import type { NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import { type Port, revisionKey } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { isSame } from '../orchestrator/dirty.ts';
import type { Change, View } from '../store/store.ts';

/** Another host: see dispatcher.proto, Peer. */
export interface PeerHost {
  readonly nodeId: NodeId;
  readonly address: string;
  readonly mac: string;
  readonly meshPort: number;
  readonly block: string;
  /** Anything but ready. */
  readonly suspect: boolean;
}

export interface Backend {
  readonly taskId: TaskId;
  readonly nodeId: NodeId;
  readonly address: string;
  readonly target: number;
}

/** See dispatcher.proto, PublishedPort. */
export interface IngressPort {
  /** `tcp/8080`. */
  readonly key: string;
  readonly protocol: string;
  readonly published: number;
  readonly serviceId: ServiceId;
  /** In order of task id. */
  readonly backends: readonly Backend[];
}

/** A service's hold on a port; `claimed` = its spec in force publishes it, not only tasks of an older revision. */
interface Hold {
  readonly port: IngressPort;
  readonly claimed: boolean;
}

export interface Picture {
  readonly pool: string;
  readonly peers: ReadonlyMap<NodeId, PeerHost>;
  readonly ports: ReadonlyMap<string, IngressPort>;
  readonly holds: ReadonlyMap<ServiceId, readonly Hold[]>;
}

export const EMPTY: Picture = { pool: '', peers: new Map(), ports: new Map(), holds: new Map() };

/** What changes of the store may have changed of the picture. */
export interface Doubt {
  readonly peers: boolean;
  readonly services: ReadonlySet<ServiceId>;
}

/** Everything is to be looked at. */
export function doubtAll(view: View, before: Picture): Doubt {
  return {
    peers: true,
    services: new Set([
      ...before.holds.keys(),
      ...[...view.all('task')].map(({ value }) => value.serviceId),
      ...[...view.all('service')].map(({ value }) => value.id),
    ]),
  };
}

/** What these changes put in doubt. */
export function doubtOf(changes: readonly Change[], view: View): Doubt {
  let peers = false;
  const services = new Set<ServiceId>();
  for (const change of changes) {
    if (change.kind === 'node' || change.kind === 'node-status' || change.kind === 'cluster') peers = true;
    for (const id of servicesOf(change, view)) services.add(id);
  }
  return { peers, services };
}

/** The picture of `view`; the same object when nothing differs. */
export function nextPicture(view: View, before: Picture, doubt: Doubt): Picture {
  const pool = view.get('cluster', 'default')?.value.addressPool ?? '';
  const peers = doubt.peers ? keepSame(before.peers, peersOf(view)) : before.peers;
  const holds = nextHolds(view, before.holds, doubt.services);
  const ports = holds === before.holds ? before.ports : keepSame(before.ports, resolve(holds));
  const unchanged = pool === before.pool && peers === before.peers && holds === before.holds && ports === before.ports;
  return unchanged ? before : { pool, peers, ports, holds };
}

/** True for a task whose departure other nodes must have noticed before it may stop. */
export function isPublished(view: View, task: Task): boolean {
  return ingressPorts(view, task).length > 0;
}

function* servicesOf(change: Change, view: View): Iterable<ServiceId> {
  switch (change.kind) {
    case 'service':
      yield change.id as ServiceId;
      return;
    case 'revision':
    case 'task':
      if (change.before !== undefined) yield change.before.serviceId;
      if (change.after !== undefined) yield change.after.serviceId;
      return;
    case 'task-status': {
      const task = view.get('task', change.id);
      if (task !== undefined) yield task.value.serviceId;
      return;
    }
    case 'node-status':
      if (change.before?.state === change.after?.state) return;
      for (const { value } of view.tasksOn(change.id as NodeId)) yield value.serviceId;
      return;
    case 'node':
      if (change.before !== undefined && change.after !== undefined) return;
      for (const { value } of view.tasksOn(change.id as NodeId)) yield value.serviceId;
      return;
    case 'cluster':
    case 'image':
    case 'leader':
    case 'login':
    case 'manager':
    case 'container':
    case 'name':
    case 'rollout':
      return;
  }
}

function peersOf(view: View): Map<NodeId, PeerHost> {
  const peers = new Map<NodeId, PeerHost>();
  for (const { value: node } of view.all('node')) {
    const status = view.get('node-status', node.id)?.value;
    if (node.block === undefined || status === undefined) continue;
    const { address, mac, meshPort } = status.description;
    const suspect = status.state !== 'ready';
    peers.set(node.id, { nodeId: node.id, address, mac, block: node.block, suspect, meshPort });
  }
  return peers;
}

function nextHolds(
  view: View,
  before: ReadonlyMap<ServiceId, readonly Hold[]>,
  services: ReadonlySet<ServiceId>,
): ReadonlyMap<ServiceId, readonly Hold[]> {
  const changed = new Map<ServiceId, readonly Hold[]>();
  for (const id of services) {
    const holds = holdsOf(view, id);
    if (!isSame(holds, before.get(id) ?? [])) changed.set(id, holds);
  }
  if (changed.size === 0) return before;
  const after = new Map([...before, ...changed]);
  for (const [id, holds] of changed) if (holds.length === 0) after.delete(id);
  return after;
}

function holdsOf(view: View, serviceId: ServiceId): readonly Hold[] {
  const service = view.get('service', serviceId)?.value;
  const open = new Map<string, { port: Port; claimed: boolean; backends: Backend[] }>();
  for (const port of service?.spec.ports ?? []) {
    if (port.mode === 'ingress') open.set(keyOf(port), { port, claimed: true, backends: [] });
  }
  for (const { value: task } of view.tasksOf(serviceId)) {
    const { nodeId, address } = task;
    if (nodeId === undefined || address === undefined || !serves(view, task)) continue;
    for (const port of ingressPorts(view, task)) {
      const hold = open.get(keyOf(port)) ?? { port, claimed: false, backends: [] };
      hold.backends.push({ taskId: task.id, nodeId, address, target: port.target });
      open.set(keyOf(port), hold);
    }
  }
  return [...open].map(([key, { port, claimed, backends }]) => ({
    claimed,
    port: {
      key,
      protocol: port.protocol,
      published: port.published,
      serviceId,
      backends: backends.sort((a, b) => (a.taskId < b.taskId ? -1 : 1)),
    },
  }));
}

function serves(view: View, task: Task): boolean {
  if (task.desired !== 'running') return false;
  const status = view.get('task-status', task.id)?.value;
  if (status?.state !== 'running' || !status.healthy) return false;
  return view.get('node-status', status.nodeId)?.value.state === 'ready';
}

function ingressPorts(view: View, task: Task): readonly Port[] {
  const revision = view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
  return (revision?.ports ?? []).filter(({ mode }) => mode === 'ingress');
}

/** One owner a port. Two can meet only for a moment: a port that moved to another service while old tasks still serve. */
function resolve(holds: ReadonlyMap<ServiceId, readonly Hold[]>): Map<string, IngressPort> {
  const owners = new Map<string, Hold>();
  for (const hold of [...holds.values()].flat()) {
    const other = owners.get(hold.port.key);
    if (other === undefined || precedes(hold, other)) owners.set(hold.port.key, hold);
  }
  return new Map([...owners].map(([key, { port }]) => [key, port]));
}

function precedes(a: Hold, b: Hold): boolean {
  return a.claimed === b.claimed ? a.port.serviceId < b.port.serviceId : a.claimed;
}

function keyOf(port: Port): string {
  return `${port.protocol}/${port.published}`;
}

/** `after` with the entries of `before` in place of equal ones; `before` itself when nothing differs. */
function keepSame<K, V>(before: ReadonlyMap<K, V>, after: Map<K, V>): ReadonlyMap<K, V> {
  let differs = before.size !== after.size;
  for (const [key, value] of after) {
    const old = before.get(key);
    if (old !== undefined && isSame(old, value)) after.set(key, old);
    else differs = true;
  }
  return differs ? after : before;
}
