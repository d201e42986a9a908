/** Brings the host's network to the newest wanted state: one change at a time, what was overtaken is left out. */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../common/log.ts';
import type { Attachment, HostNetwork, Network, Peer, PublishedPort } from './network/network.ts';

export interface Wanted {
  readonly host: HostNetwork;
  readonly peers: readonly Peer[];
  readonly ports: readonly PublishedPort[];
  /** Containers that live, asked when the network is taken over. */
  readonly attached: () => readonly Attachment[];
}

export class HostNetworkKeeper {
  readonly #network: Network;
  readonly #log: Log;
  readonly #onStart: () => void;
  #applied: Wanted | undefined;
  #next: Wanted | undefined;
  #turn: Promise<void> = Promise.resolve();

  /** @param onStart  told each time the host was taken over */
  constructor(network: Network, log: Log, onStart: () => void) {
    this.#network = network;
    this.#onStart = onStart;
    this.#log = log;
  }

  /** Resolves once the kernel stands at `wanted` or at something newer. Rejects with the network's error; a later call tries again. */
  bring(wanted: Wanted): Promise<void> {
    this.#next = wanted;
    const turn = this.#turn.then(() => this.#apply());
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.#turn;
  }

  async #apply(): Promise<void> {
    const wanted = this.#next;
    if (wanted === undefined) return;
    const before = this.#applied;
    try {
      if (before === undefined || !isDeepStrictEqual(before.host, wanted.host)) {
        const { host, peers, ports } = wanted;
        this.#log.info({ ...host }, 'taking over the network of this host');
        await this.#network.start({ host, peers, ports, attached: wanted.attached() });
        this.#onStart();
      } else {
        if (!isDeepStrictEqual(before.peers, wanted.peers)) await this.#network.applyPeers(wanted.peers);
        if (!isDeepStrictEqual(before.ports, wanted.ports)) await this.#network.applyPorts(wanted.ports);
      }
    } catch (cause) {
      // What the kernel holds is not known: the next change takes the host over anew.
      this.#applied = undefined;
      throw cause;
    }
    this.#applied = wanted;
    if (this.#next === wanted) this.#next = undefined;
  }
}
