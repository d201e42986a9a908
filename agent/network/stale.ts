/**
 * Connections of containers that have gone, which the kernel is to forget before their addresses are used again.
 *
 * Comes in: addresses, as their containers are detached. Goes out: one walk through the kernel's table for all that came
 * while the last one went on; each takes milliseconds, however few connections there are. An address stays stale until a
 * walk for it has succeeded.
 */
import type { NetworkAddon } from '../../native/network.ts';

export class StaleAddresses {
  readonly #addon: Pick<NetworkAddon, 'forgetAddresses'>;
  readonly #stale = new Set<string>();
  #walk: Promise<void> | undefined;

  constructor(addon: Pick<NetworkAddon, 'forgetAddresses'>) {
    this.#addon = addon;
  }

  /** Resolves when nothing is known of the address's connections any more. Rejects with the kernel's error. */
  async forget(address: string): Promise<void> {
    this.#stale.add(address);
    await this.settled(address);
  }

  /** Resolves, at once for an address that is not stale, when it may be used. Rejects with the kernel's error. */
  async settled(address: string): Promise<void> {
    while (this.#stale.has(address)) {
      this.#walk ??= this.#forgetAll().finally(() => {
        this.#walk = undefined;
      });
      await this.#walk;
    }
  }

  async #forgetAll(): Promise<void> {
    const addresses = [...this.#stale];
    await this.#addon.forgetAddresses(addresses);
    for (const address of addresses) this.#stale.delete(address);
  }
}
