/** Brings a user's command to the leader, wherever it is. */
import type { covey } from '../../proto/messages.ts';
import type { DispatcherDoor } from '../dispatcher/door.ts';
import { notLeading } from '../dispatcher/door.ts';
import type { Store } from '../store/store.ts';
import type { ExecInput, ExecOutput } from './broker.ts';

export type ExecSource = (
  inputs: AsyncIterable<ExecInput>,
  signal: AbortSignal,
) => AsyncIterable<covey.v1.ExecOutput.$Properties>;

export interface ExecRouteParts {
  readonly store: Store;
  readonly door: DispatcherDoor;
  /** This manager's own address: it never asks itself. */
  readonly ownAddress: string;
  /** The same question to another manager. */
  readonly ask: (
    address: string,
  ) => (inputs: AsyncIterable<ExecInput>, signal: AbortSignal) => AsyncIterable<ExecOutput>;
}

/** Through the broker here while this manager leads, through the leader's otherwise. @throws ClusterError `unavailable` without a leader */
export function execRoute(parts: ExecRouteParts): ExecSource {
  return (inputs, signal) => {
    const here = parts.door.leadership;
    if (here !== undefined) return here.execs.run(inputs, signal);
    const address = parts.store.view.get('leader', 'default')?.value.address;
    if (address === undefined || address === parts.ownAddress) throw notLeading(parts.store);
    return parts.ask(address)(inputs, signal);
  };
}
