/**
 * The agents' door on every manager: passes sessions on to the dispatcher while this manager leads, and says who leads
 * while it does not. It adapts gRPC's calls and decides nothing.
 */
import { ClusterError } from '../../common/errors.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Dispatcher as Table } from '../../proto/methods.ts';
import type { Call, Handlers } from '../../proto/rpc.ts';
import type { LogBroker } from '../logs/broker.ts';
import type { RelayBroker } from '../relay/broker.ts';
import type { Store } from '../store/store.ts';
import type { Dispatcher } from './dispatcher.ts';

/** What a leading manager has that others lack. */
export interface Leadership {
  readonly dispatcher: Dispatcher;
  readonly logs: LogBroker;
  readonly relays: RelayBroker;
}

export class DispatcherDoor {
  readonly #store: Store;
  #leadership: Leadership | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Set while this manager leads. */
  get leadership(): Leadership | undefined {
    return this.#leadership;
  }

  /** This manager leads from now on, or no longer. */
  lead(leadership: Leadership | undefined): void {
    this.#leadership = leadership;
  }

  readonly handlers: Handlers<typeof Table> = {
    session: (messages, call) => this.#leading().dispatcher.session(nodeOf(call), messages, call.signal),
    publishLogs: async (messages, call) => {
      await this.#leading().logs.publish(nodeOf(call), messages);
      return {};
    },
    relay: (messages, call) => this.#leading().relays.answer(nodeOf(call), messages, call.signal),
  };

  #leading(): Leadership {
    if (this.#leadership !== undefined) return this.#leadership;
    throw notLeading(this.#store);
  }
}

/** `unavailable`, with the leader's HOST:PORT as the last word of the hint when there is one. */
export function notLeading(store: Store): ClusterError {
  const leader = store.view.get('leader', 'default')?.value.address;
  return new ClusterError('unavailable', 'this manager does not lead', {
    hint: leader === undefined ? 'there is no leader at the moment; try again' : `ask the leader at ${leader}`,
  });
}

function nodeOf(call: Call): NodeId {
  if (call.peer?.role !== 'worker') throw new ClusterError('denied', 'sessions are for nodes only');
  return call.peer.id as NodeId;
}
