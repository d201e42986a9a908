/** This agent's own port, on which other nodes take pieces of images. The only thing an agent listens on. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Log } from '../../common/log.ts';
import { endOf } from '../../common/rpc.ts';
import type { Identity } from '../../common/tls/identity.ts';
import { identify } from '../../common/tls/peer.ts';
import type { Mesh } from '../../proto/methods.ts';
import type { Handlers, Peer } from '../../proto/rpc.ts';
import { Callers } from './wire/callers.ts';

export interface MeshDoorOptions {
  readonly address: string;
  /** 0 = any, for tests. */
  readonly port: number;
  readonly identity: Identity;
  readonly exchange: Handlers<typeof Mesh>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Each holds a socket and its buffers; a node asks a handful of others at once, and few ask one. */
const CONNECTIONS_MAX = 1_024;
const HANDSHAKE_MS = 5_000;

export class MeshDoor {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: ReadonlySet<TLSSocket>;

  private constructor(server: Server, sockets: ReadonlySet<TLSSocket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
  }

  /** @throws ClusterError `unavailable` when the port cannot be had */
  static async open({ address, port, identity, exchange, clock, log }: MeshDoorOptions): Promise<MeshDoor> {
    const known = identify(identity.ca);
    const sockets = new Set<TLSSocket>();
    const server = createServer({
      ...materialOf(identity),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
      minVersion: 'TLSv1.3',
    });
    server.maxConnections = CONNECTIONS_MAX;
    // A stranger is told nothing, and its handshake's failure is no error of ours.
    server.on('tlsClientError', (cause) => log.debug({ err: cause }, 'a caller of the mesh was refused'));
    server.on('secureConnection', (socket) => {
      const { raw: certificate } = socket.getPeerX509Certificate() ?? { raw: Buffer.alloc(0) };
      const peerOf = (): Peer | undefined => workerOf(known(certificate));
      if (peerOf() === undefined) {
        socket.destroy();
        return;
      }
      sockets.add(socket.setNoDelay(true));
      socket.once('close', () => sockets.delete(socket));
      Callers.serve({ socket, peerOf, exchange, clock, encodeEnd: endOf(log) });
    });
    try {
      server.listen(port, address);
      await once(server, 'listening');
      return new MeshDoor(server, sockets);
    } catch (cause) {
      throw new ClusterError('unavailable', `port ${port} of ${address} cannot be listened on`, {
        hint: 'choose another with --mesh-port',
        cause,
      });
    }
  }

  /** New connections get the new certificate. */
  renew(identity: Identity): void {
    this.#server.setSecureContext({ ...materialOf(identity), minVersion: 'TLSv1.3' });
  }

  /** Cuts off who takes pieces: they take them elsewhere. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

function materialOf({ ca, certificate, key }: Identity) {
  return { ca, cert: certificate, key };
}

function workerOf(peer: Peer | undefined): Peer | undefined {
  return peer?.role === 'worker' ? peer : undefined;
}
