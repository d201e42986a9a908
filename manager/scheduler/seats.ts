/**
 * What each node still has to offer, counted once per plan from the view and kept up to date while the plan binds.
 * A seat is a node as the scheduler sees it.
 */
import { type Constraint, factsOf, type NodeFacts, parseConstraint } from '../../common/model/constraint.ts';
import type { NodeId, Revision, ServiceId } from '../../common/model/ids.ts';
import type { Node, NodeStatus } from '../../common/model/node.ts';
import { revisionKey, type ServiceRevision } from '../../common/model/service.ts';
import { isTerminal, isWanted, type Task } from '../../common/model/task.ts';
import { nextAddress, poolProblem } from '../allocator/addresses.ts';
import { portKey } from '../allocator/ports.ts';
import type { Stored, View } from '../store/store.ts';

/** What every task of one service revision needs of a node. */
export interface Want {
  readonly serviceId: ServiceId;
  readonly revision: number;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  /** Undefined in the place of a text that is no constraint: no node meets it. */
  readonly constraints: readonly (Constraint | undefined)[];
  /** Empty parts match every node. */
  readonly platform: { readonly os: string; readonly arch: string };
  /** `8080/tcp`, host mode only. */
  readonly hostPorts: readonly string[];
  /** 0 = no limit. */
  readonly maxPerNode: number;
}

/** One node's offer. Counts change while a plan is made; only `Seats` writes them. */
export interface Seat {
  readonly node: Stored<Node>;
  readonly status: NodeStatus | undefined;
  /** 0 = it has no status yet. */
  readonly statusRev: Revision;
  readonly facts: NodeFacts;
  /** Reserved by tasks that have not ended, wanted or not: a container that is stopping still uses what it has. */
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  /** Tasks that are wanted here, without those that a held one is about to follow. */
  readonly tasks: number;
  /** Why it has no address block; empty when it has one. */
  readonly blockProblem: string;
  /** How many tasks that have not ended, and containers without a service, hold the host port. */
  portUsers(port: string): number;
}

interface OpenSeat extends Seat {
  nanoCpus: number;
  memoryBytes: number;
  tasks: number;
  readonly ports: Map<string, number>;
  addresses: Addresses | undefined;
  /** Tasks per service that this plan has put here; the view does not know them yet. */
  readonly placed: Map<ServiceId, number>;
}

interface Addresses {
  readonly held: Set<string>;
  readonly past: Set<string>;
  last: string | undefined;
}

/** All seats of one plan. Built for one decision and dropped with it. */
export class Seats {
  readonly #view: View;
  readonly #seats = new Map<NodeId, OpenSeat>();
  readonly #wants = new Map<ServiceId, Map<number, Want | undefined>>();

  constructor(view: View) {
    this.#view = view;
    for (const node of view.all('node')) this.#seats.set(node.value.id, openSeat(node, view));
    for (const { value: claim } of view.all('container')) {
      const ports = this.#seats.get(claim.nodeId)?.ports;
      for (const key of claim.ports.map(portKey)) ports?.set(key, (ports.get(key) ?? 0) + 1);
    }
    for (const { value: task } of view.all('task')) {
      if (task.desired === 'ready' && !hasEnded(view, task)) this.#discount(task);
      const seat = task.nodeId === undefined ? undefined : this.#seats.get(task.nodeId);
      if (seat === undefined || hasEnded(view, task)) continue;
      if (isWanted(task)) seat.tasks++;
      const want = this.want(task);
      if (want !== undefined) occupy(seat, want);
    }
  }

  /** What a held task waits for is about to go: it is no reason for another node, though it still holds what it has. */
  #discount({ replaces }: Task): void {
    const old = replaces === undefined ? undefined : this.#view.get('task', replaces)?.value;
    const seat = old?.nodeId === undefined ? undefined : this.#seats.get(old.nodeId);
    if (old !== undefined && seat !== undefined && isWanted(old) && !hasEnded(this.#view, old)) seat.tasks--;
  }

  all(): Iterable<Seat> {
    return this.#seats.values();
  }

  /** What tasks of this one's revision need; undefined when the revision is not in the store. */
  want(task: Task): Want | undefined {
    let ofService = this.#wants.get(task.serviceId);
    if (ofService === undefined) {
      ofService = new Map();
      this.#wants.set(task.serviceId, ofService);
    }
    if (!ofService.has(task.revision)) ofService.set(task.revision, wantOf(this.#view, task));
    return ofService.get(task.revision);
  }

  /** False when every address of the node is in use. */
  hasAddress(seat: Seat): boolean {
    return this.#nextAddress(seat.node.value.id) !== undefined;
  }

  /** Counts one more wanted task of `want` on the seat; returns its address, or undefined and nothing counted. */
  take(seat: Seat, want: Want): string | undefined {
    const nodeId = seat.node.value.id;
    const open = this.#seats.get(nodeId);
    const address = this.#nextAddress(nodeId);
    if (open?.addresses === undefined || address === undefined) return undefined;
    open.addresses.held.add(address);
    open.addresses.last = address;
    open.tasks++;
    open.placed.set(want.serviceId, this.placedOn(seat, want.serviceId) + 1);
    occupy(open, want);
    return address;
  }

  /** How many tasks of the service this plan has put on the node so far. */
  placedOn(seat: Seat, serviceId: ServiceId): number {
    return this.#seats.get(seat.node.value.id)?.placed.get(serviceId) ?? 0;
  }

  #nextAddress(nodeId: NodeId): string | undefined {
    const open = this.#seats.get(nodeId);
    const block = open?.node.value.block;
    if (open === undefined || block === undefined) return undefined;
    open.addresses ??= addressesOn(this.#view, nodeId);
    return nextAddress(block, open.addresses.held, open.addresses.past, open.addresses.last);
  }
}

/** True when the task's container is over, so that what it held is free. */
export function hasEnded(view: View, task: Task): boolean {
  const status = view.get('task-status', task.id)?.value;
  return status !== undefined && isTerminal(status.state);
}

function openSeat(node: Stored<Node>, view: View): OpenSeat {
  const stored = view.get('node-status', node.value.id);
  const ports = new Map<string, number>();
  return {
    node,
    status: stored?.value,
    statusRev: stored?.rev ?? 0,
    facts: factsOf(node.value, stored?.value),
    nanoCpus: 0,
    memoryBytes: 0,
    tasks: 0,
    blockProblem: node.value.block === undefined ? poolProblem(view.get('cluster', 'default')?.value, view) : '',
    ports,
    addresses: undefined,
    placed: new Map(),
    portUsers: (port) => ports.get(port) ?? 0,
  };
}

function occupy(seat: OpenSeat, want: Want): void {
  seat.nanoCpus += want.nanoCpus;
  seat.memoryBytes += want.memoryBytes;
  for (const port of want.hostPorts) seat.ports.set(port, (seat.ports.get(port) ?? 0) + 1);
}

function wantOf(view: View, task: Task): Want | undefined {
  const revision = view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
  if (revision === undefined) return undefined;
  const { reservations, placement } = revision.template;
  return {
    serviceId: task.serviceId,
    revision: task.revision,
    nanoCpus: reservations.nanoCpus,
    memoryBytes: reservations.memoryBytes,
    constraints: placement.constraints.map((text) => {
      const constraint = parseConstraint(text);
      return constraint.kind === 'constraint' ? constraint : undefined;
    }),
    platform: platformOf(view, revision),
    hostPorts: revision.ports.filter((port) => port.mode === 'host').map(portKey),
    maxPerNode: placement.maxReplicasPerNode,
  };
}

function platformOf(view: View, revision: ServiceRevision): Want['platform'] {
  const [reference = ''] = revision.template.container.image.split('@');
  const image = view.get('image', reference)?.value;
  return { os: image?.os ?? '', arch: image?.arch ?? '' };
}

function addressesOn(view: View, nodeId: NodeId): Addresses {
  const held = new Set<string>();
  const past = new Set<string>();
  let newest: { readonly at: number; readonly address: string } | undefined;
  for (const { value: task } of view.tasksOn(nodeId)) {
    if (task.address === undefined) continue;
    (hasEnded(view, task) ? past : held).add(task.address);
    const at = task.assignedAt ?? 0;
    if (newest === undefined || at > newest.at || (at === newest.at && task.address > newest.address)) {
      newest = { at, address: task.address };
    }
  }
  return { held, past, last: newest?.address };
}
