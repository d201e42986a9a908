/** Connections to other agents: one a node, whatever is taken from it; closed when nothing has been for a while. */
import type { Clock } from '../../common/clock.ts';
import type { Identity } from '../../common/tls/identity.ts';
import type { Member } from './download.ts';
import type { PieceServer } from './link.ts';
import { PieceMemory } from './piece-memory.ts';
import { PieceChannel } from './wire/channel.ts';

/** Layers of an image follow one another; a connection at rest costs both ends a ping every two seconds. */
const IDLE_MS = 10_000;

export interface NodesTools {
  readonly identity: () => Identity;
  readonly clock: Clock;
}

interface Connection {
  readonly channel: PieceChannel;
  readonly identity: Identity;
  users: number;
  rest: () => void;
}

export class Nodes {
  /** What pieces come and go in. */
  readonly memory: PieceMemory;
  readonly #tools: NodesTools;
  readonly #open = new Map<string, Connection>();

  constructor(tools: NodesTools) {
    this.#tools = tools;
    this.memory = new PieceMemory(tools.clock);
  }

  /** This node's own id. */
  get self(): string {
    return this.#tools.identity().id;
  }

  isNear(address: string): boolean {
    return this.#open.has(address);
  }

  /** The node's service, for as long as it is not closed. */
  connect({ id, address }: Pick<Member, 'id' | 'address'>): {
    readonly server: PieceServer;
    readonly close: () => void;
  } {
    const { identity, clock } = this.#tools;
    let connection = this.#open.get(address);
    if (connection === undefined || connection.identity !== identity()) {
      // One with an older certificate goes on until its last user has closed it.
      const current = identity();
      const channel = new PieceChannel({ nodeId: id, address, identity: current, memory: this.memory, clock });
      connection = { channel, identity: current, users: 0, rest: () => {} };
      this.#open.set(address, connection);
    }
    const mine = connection;
    mine.users += 1;
    mine.rest();
    return {
      server: mine.channel,
      close: () => {
        mine.users -= 1;
        if (mine.users > 0) return;
        mine.rest = clock.after(IDLE_MS, () => this.#drop(address, mine));
      },
    };
  }

  close(): void {
    for (const [address, connection] of this.#open) this.#drop(address, connection);
  }

  #drop(address: string, connection: Connection): void {
    connection.rest();
    connection.channel.close();
    if (this.#open.get(address) === connection) this.#open.delete(address);
  }
}
