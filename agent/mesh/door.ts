/** This agent's own port, on which other nodes take pieces of images. The only thing an agent listens on. */
import { ClusterError } from '../../common/errors.ts';
import type { Log } from '../../common/log.ts';
import { rpcServer } from '../../common/rpc.ts';
import type { Identity } from '../../common/tls/identity.ts';
import { Mesh } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import type { RpcServer } from '../../proto/rpc-server.ts';

export interface MeshDoorOptions {
  readonly address: string;
  /** 0 = any, for tests. */
  readonly port: number;
  readonly identity: Identity;
  readonly exchange: Handlers<typeof Mesh>;
  readonly log: Log;
}

export class MeshDoor {
  readonly port: number;
  readonly #server: RpcServer;

  private constructor(server: RpcServer, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** @throws ClusterError `unavailable` when the port cannot be had */
  static async open({ address, port, identity, exchange, log }: MeshDoorOptions): Promise<MeshDoor> {
    const server = rpcServer(identity.ca, log);
    server.add(Mesh, exchange, ['worker']);
    try {
      return new MeshDoor(server, await server.listen(`${address}:${port}`, identity));
    } catch (cause) {
      throw new ClusterError('unavailable', `port ${port} of ${address} cannot be listened on`, {
        hint: 'choose another with --mesh-port',
        cause,
      });
    }
  }

  /** New connections get the new certificate. */
  renew(identity: Identity): void {
    this.#server.renew(identity);
  }

  /** Cuts off who takes pieces: they take them elsewhere. */
  close(): Promise<void> {
    return this.#server.close(0);
  }
}
