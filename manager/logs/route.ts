/** Brings a reader of logs to the leader, wherever it is. */
import type { DispatcherDoor } from '../dispatcher/door.ts';
import { notLeading } from '../dispatcher/door.ts';
import type { Store } from '../store/store.ts';
import type { LogLine, LogWish } from './broker.ts';

export type LogSource = (wish: LogWish, signal: AbortSignal) => AsyncIterable<LogLine>;

export interface RouteParts {
  readonly store: Store;
  readonly door: DispatcherDoor;
  /** This manager's own address: it never asks itself. */
  readonly ownAddress: string;
  /** The same question to another manager. */
  readonly ask: (address: string) => LogSource;
}

/** Lines from the broker here while this manager leads, from the leader's otherwise. @throws ClusterError `unavailable` without a leader */
export function logRoute(parts: RouteParts): LogSource {
  return (wish, signal) => {
    const here = parts.door.leadership;
    if (here !== undefined) return here.logs.read(wish, signal);
    const address = parts.store.view.get('leader', 'default')?.value.address;
    if (address === undefined || address === parts.ownAddress) throw notLeading(parts.store);
    return parts.ask(address)(wish, signal);
  };
}
