/** One channel to each known manager for images' blobs, made when first needed and anew when our certificate changes. */
import type { Identity } from '../common/tls/identity.ts';
import { Images } from '../proto/methods.ts';
import type { Client } from '../proto/rpc.ts';
import type { RpcChannel } from '../proto/rpc-channel.ts';

export interface BlobServersOptions {
  readonly addresses: () => readonly string[];
  readonly identity: () => Identity;
  readonly dial: (address: string, identity: Identity) => RpcChannel;
}

export class BlobServers {
  readonly #options: BlobServersOptions;
  readonly #channels = new Map<string, RpcChannel>();
  #identity: Identity | undefined;

  constructor(options: BlobServersOptions) {
    this.#options = options;
  }

  /** In the order in which managers are known. */
  servers(): readonly Client<typeof Images>[] {
    const { addresses, identity, dial } = this.#options;
    const known = addresses();
    const current = identity();
    for (const [address, channel] of this.#channels) {
      if (current === this.#identity && known.includes(address)) continue;
      channel.close();
      this.#channels.delete(address);
    }
    this.#identity = current;
    return known.map((address) => {
      const channel = this.#channels.get(address) ?? dial(address, current);
      this.#channels.set(address, channel);
      return channel.service(Images);
    });
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }
}
