/** A link that can be cut: a TCP port on loopback in front of a unix socket. */
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';

export class Relay {
  readonly #target: string;
  readonly #sockets = new Set<Socket>();
  #server: Server;
  #port = 0;

  private constructor(target: string) {
    this.#target = target;
    this.#server = this.#listener();
  }

  /** @param endpoint  `unix:/path` */
  static async start(endpoint: string): Promise<Relay> {
    const relay = new Relay(endpoint.slice('unix:'.length));
    await relay.mend();
    return relay;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get isOpen(): boolean {
    return this.#server.listening;
  }

  /** Breaks all connections; new ones are refused. */
  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Takes connections again, at the same address. */
  async mend(): Promise<void> {
    this.#server = this.#listener();
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.cut();
    await closed;
  }

  #listener(): Server {
    return createServer((near) => {
      const far = createConnection(this.#target);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.on('error', () => from.destroy());
        from.pipe(to);
      }
    });
  }
}
