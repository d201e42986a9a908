/**
 * The contract of a host's network: routes to the other hosts, the containers' links, and the load balancer.
 *
 * Comes in: where this host stands (`HostNetwork`), complete sets of peers and published ports, and containers to
 * attach. Goes out: a kernel that agrees with them. It never decides: which task is ready, drained or gone is the
 * worker's business, and no call here ever cuts an established connection of a container that lives.
 * Implemented by native-network.ts and, for tests, test/support/fake-network.ts. How it works: ADR 0007.
 */
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { Protocol } from '../../common/model/service.ts';

/** Where this host stands; from its configuration and the manager's assignments. */
export interface HostNetwork {
  /** IPv4 address by which the other hosts reach this one; it must be on an interface of this host. */
  readonly address: string;
  /** The cluster's pool of container addresses, CIDR. */
  readonly pool: string;
  /** This node's part of the pool, CIDR. */
  readonly block: string;
}

/** Another host of the cluster. Its MAC names it as ingress host, so it must share a segment with this one. */
export interface Peer {
  readonly nodeId: NodeId;
  readonly address: string;
  /** Lower case with colons. */
  readonly mac: string;
  readonly block: string;
}

/** A task that may get connections of a published port. */
export interface Backend {
  readonly taskId: TaskId;
  readonly address: string;
  /** Port inside the container. */
  readonly target: number;
}

/** A port published on every host. No backends: connections are refused at once. */
export interface PublishedPort {
  readonly protocol: Protocol;
  readonly published: number;
  /** Any order; each gets the same share of new connections. */
  readonly backends: readonly Backend[];
}

/** A port published on the task's own host only (`mode=host`). */
export interface HostPort {
  readonly protocol: Protocol;
  readonly published: number;
  readonly target: number;
}

/** A container's place in the network. */
export interface Attachment {
  readonly taskId: TaskId;
  /** From this node's block. */
  readonly address: string;
  /** Open from the attachment on, until `withdraw` or `detach`. */
  readonly hostPorts: readonly HostPort[];
  /** Absent: no limit. Holds from the attachment to the end of the link, whoever is the agent meanwhile. */
  readonly rate?: NetworkRate;
}

/** Bits a second, all headers counted; 0 = no limit. */
export interface NetworkRate {
  /** From the container, and to it. */
  readonly egressBits: number;
  readonly ingressBits: number;
}

/** All that the host's network has to hold, for a start without a gap. */
export interface NetworkState {
  readonly host: HostNetwork;
  readonly peers: readonly Peer[];
  readonly ports: readonly PublishedPort[];
  /** Containers that live and are attached already, for instance those that survived a restart of the agent. */
  readonly attached: readonly Attachment[];
}

/**
 * Every call may be made again with the same arguments and then changes nothing. Calls are carried out one after
 * another. Errors, all ClusterError: `invalid` for what can never work (names the field), `unavailable` before `start`,
 * `internal` with the native error as cause.
 */
export interface Network {
  /**
   * Takes the host over: sysctls, routes, rules and one nftables table, replaced in a single transaction, so that a
   * restarted agent leaves no gap. Also the way to change pool or block. Containers not in `attached` lose their
   * links at the second audit from now.
   */
  start(state: NetworkState): Promise<void>;
  /** The complete set of other hosts. One that cannot be routed to is left out; when that is all of them, `unfit` tells. */
  applyPeers(peers: readonly Peer[]): Promise<void>;
  /**
   * The complete set of published ports; resolved means that no new connection goes to a backend that is not in it.
   * One transaction, touching changed ports only.
   */
  applyPorts(ports: readonly PublishedPort[]): Promise<void>;
  /**
   * Gives the network namespace of process `pid` its `eth0`, address, routes and `lo`, and opens its host ports. To be
   * called between the runtime's `create` and `start`. Packets left over for an earlier holder of the address are cut.
   */
  attach(attachment: Attachment, pid: number): Promise<void>;
  /** Takes the task out of this host's own maps, host ports included, whatever `applyPorts` says; open connections go on. */
  withdraw(taskId: TaskId): Promise<void>;
  /** Once the container is gone: forgets its connections, route and link. An unknown task is fine. */
  detach(taskId: TaskId): Promise<void>;
  /** Connections that others have open to this container's address: TCP until closed on both sides, UDP that spoke within 5 s. */
  openConnections(address: string): Promise<number>;
  /** Compares the kernel with what it should hold and repairs it. Returns what was repaired, a line each; empty = nothing. Every 30 s. */
  audit(): Promise<readonly string[]>;
  /** Why this host must get no tasks, in one line with the next step, for instance another table that drops forwarded packets; empty = well. */
  unfit(): Promise<string>;
  /** Waits for calls under way and lets go; everything in the kernel stays and goes on working. */
  stop(): Promise<void>;
  /** Removes everything it ever made on this host and puts the sysctls back; works without `start`, from the state directory alone. */
  clean(): Promise<void>;
}
