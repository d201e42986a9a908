/** The load balancer's table in the kernel: remembers what it holds and changes only what differs. */
import type { TaskId } from '../../common/model/ids.ts';
import type { NetworkAddon } from '../../native/network.ts';
import { type MarkNumbers, markOf } from './marks.ts';
import type { Attachment, Backend, HostNetwork, Peer, PublishedPort } from './network.ts';
import { change, contentsOf, layDown, type OpenHostPort, type TableContents } from './table.ts';

const UDP = 17;

/** Everything the table depends on but the ports. */
export interface Surroundings {
  readonly host: HostNetwork;
  readonly peers: readonly Peer[];
  readonly numbers: MarkNumbers;
  readonly attached: readonly Attachment[];
}

/** What we know of the kernel's table. */
interface Laid {
  readonly host: HostNetwork;
  readonly contents: TableContents;
  /** The ruleset's generation right after our last change; undefined when somebody else changed it at the same time. */
  readonly generation: number | undefined;
}

export class Balance {
  readonly #addon: NetworkAddon;
  readonly #withdrawn = new Set<TaskId>();
  #ports: readonly PublishedPort[] = [];
  #laid: Laid | undefined;
  #udpBackends = new Map<string, { readonly address: string; readonly published: number }>();

  constructor(addon: NetworkAddon) {
    this.#addon = addon;
  }

  /** The complete set; in force with the next `apply`. */
  setPorts(ports: readonly PublishedPort[]): void {
    this.#ports = ports;
  }

  /** Out of every map of this host, whatever `setPorts` says, for as long as anything names it. */
  withdraw(taskId: TaskId): void {
    this.#withdrawn.add(taskId);
  }

  /** The next run of a task that was withdrawn. */
  readmit(taskId: TaskId): void {
    this.#withdrawn.delete(taskId);
  }

  /** The next `apply` lays the whole table down. */
  distrust(): void {
    this.#laid = undefined;
  }

  /** Whether anybody but us has changed the ruleset since our last change. */
  async isForeign(): Promise<boolean> {
    return this.#laid?.generation !== (await this.#addon.nftGeneration());
  }

  /** One transaction: of the differences if the table is as we left it, else the whole. */
  async apply(around: Surroundings): Promise<void> {
    const contents = this.#contents(around);
    const laid = this.#laid;
    const script = laid !== undefined && sameHost(laid.host, around.host) ? change(laid.contents, contents) : undefined;
    if (script !== '') {
      // Unknown until the kernel has answered.
      this.#laid = undefined;
      const before = await this.#addon.nftGeneration();
      const isOurs = laid !== undefined && laid.generation === before;
      await this.#addon.runNft(isOurs && script !== undefined ? script : layDown(around.host, contents), false);
      const after = await this.#addon.nftGeneration();
      this.#laid = { host: around.host, contents, generation: after === before + 1 ? after : undefined };
    }
    await this.#forgetUdp();
    this.#forgetWithdrawn(around.attached);
  }

  /** Without a manager the cluster's ports go on naming a task that has left, so being detached is not enough. */
  #forgetWithdrawn(attached: readonly Attachment[]): void {
    const named = new Set(attached.map((attachment) => attachment.taskId));
    for (const port of this.#ports) for (const backend of port.backends) named.add(backend.taskId);
    for (const id of this.#withdrawn) if (!named.has(id)) this.#withdrawn.delete(id);
  }

  #contents(around: Surroundings): TableContents {
    const isIn = (task: { readonly taskId: TaskId }): boolean => !this.#withdrawn.has(task.taskId);
    const marks = new Map<string, number>();
    for (const peer of around.peers) {
      const number = around.numbers[peer.nodeId];
      if (number !== undefined) marks.set(peer.mac, markOf(number));
    }
    return contentsOf({
      host: around.host,
      marks,
      peerAddresses: around.peers.map((peer) => peer.address),
      ports: this.#ports.map((port) => ({ ...port, backends: port.backends.filter(isIn) })),
      hostPorts: around.attached
        .filter(isIn)
        .flatMap(({ address, hostPorts }) => hostPorts.map((port): OpenHostPort => ({ ...port, address }))),
    });
  }

  /** UDP has no end: a client that goes on sending would stay with a backend that has left, so its entry is forgotten. */
  async #forgetUdp(): Promise<void> {
    const now = new Map<string, { readonly address: string; readonly published: number }>();
    for (const { protocol, published, backends } of this.#ports) {
      if (protocol !== 'udp') continue;
      for (const backend of backends) {
        if (!this.#withdrawn.has(backend.taskId))
          now.set(udpKey(published, backend), { address: backend.address, published });
      }
    }
    for (const [key, { address, published }] of this.#udpBackends) {
      if (now.has(key)) continue;
      await this.#addon.forgetConnections({ address, protocol: UDP, published });
    }
    this.#udpBackends = now;
  }
}

function udpKey(published: number, backend: Backend): string {
  return `${published} ${backend.address}`;
}

function sameHost(a: HostNetwork, b: HostNetwork): boolean {
  return a.address === b.address && a.pool === b.pool && a.block === b.block;
}
