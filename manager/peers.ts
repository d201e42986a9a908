/** Connections to the other managers, one each, made when first needed and again after a renewal of our certificate. */
import { rpcChannel } from '../common/rpc.ts';
import type { TlsMaterial } from '../proto/rpc.ts';
import type { RpcChannel } from '../proto/rpc-channel.ts';

export class ManagerPeers {
  readonly #material: () => TlsMaterial;
  readonly #channels = new Map<string, { readonly material: TlsMaterial; readonly channel: RpcChannel }>();

  /** @param material  our newest certificate */
  constructor(material: () => TlsMaterial) {
    this.#material = material;
  }

  /** The connection to the manager at HOST:PORT. */
  channel(address: string): RpcChannel {
    const material = this.#material();
    const known = this.#channels.get(address);
    if (known !== undefined && known.material === material) return known.channel;
    // Calls under way on the old one end by themselves; new ones must show the new certificate.
    known?.channel.close();
    const channel = rpcChannel(address, material);
    this.#channels.set(address, { material, channel });
    return channel;
  }

  close(): void {
    for (const { channel } of this.#channels.values()) channel.close();
    this.#channels.clear();
  }
}
