/** A node: what users want of it (`Node`), and what the cluster sees of it (`NodeStatus`). */
import type { Instant, NodeId } from './ids.ts';
import type { Labels } from './service.ts';

export type Availability = 'active' | 'pause' | 'drain';
export type NodeRole = 'worker' | 'manager';

/** Written by the CA at joining and by users through Control; `block` by the leader's allocator. */
export interface Node {
  readonly id: NodeId;
  readonly availability: Availability;
  readonly role: NodeRole;
  readonly labels: Labels;
  readonly createdAt: Instant;
  /** The node's block of container addresses, CIDR; absent until allocated. Never changes afterwards. */
  readonly block?: string;
}

/** `ready`: session open. `suspect`: silent, out of load balancers, nothing else. `unreachable`: tasks have moved. `lost`: for good. */
export type NodeState = 'ready' | 'suspect' | 'unreachable' | 'lost';

/** What an agent says of its host; sent at registration and when it changes. */
export interface NodeDescription {
  readonly hostname: string;
  /** IPv4 address by which the other hosts reach this one. */
  readonly address: string;
  /** MAC of the interface with `address`, lower case with colons; names the ingress host to the others. */
  readonly mac: string;
  readonly os: string;
  readonly arch: string;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly version: string;
  /** Where it gives pieces of images' blobs to other nodes; 0 = it does not. */
  readonly meshPort: number;
}

/** Written by the leader: transitions only, no heartbeats. */
export interface NodeStatus {
  readonly nodeId: NodeId;
  readonly state: NodeState;
  /** When `state` was entered, by the leader's clock. */
  readonly since: Instant;
  /** Since when the node has been silent: kept from `suspect` on, absent while `ready`. */
  readonly silentSince?: Instant;
  /** One line: why it is not ready. */
  readonly message: string;
  /** The reign that holds or last held its session; a ready node of an older reign gets one silence window. */
  readonly epoch: Epoch;
  readonly description: NodeDescription;
  /** The agent's self-test; a node that fails it gets no new tasks. Empty = well. */
  readonly unfit: string;
}

/** Compared part by part: incarnation first. A smaller one is a deposed leader's. */
export interface Epoch {
  /** Raised by every restore or recovery. */
  readonly incarnation: number;
  /** `create_revision` of the leader's key. */
  readonly reign: number;
}

/** Negative, zero or positive as `a` is older than, the same as or newer than `b`. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  return a.incarnation !== b.incarnation ? a.incarnation - b.incarnation : a.reign - b.reign;
}
