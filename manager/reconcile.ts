/**
 * The only loop. It feeds the pure reconcilers with keys that may need work, commits what they plan through the reign,
 * and wakes them when they asked for it. It must never decide anything itself.
 */
import type { Instant, TaskId } from '../common/model/ids.ts';
import type { Change, Unit, View } from './store/store.ts';

/** The only inputs of a decision that are not in the store. */
export interface Tick {
  readonly now: Instant;
  newTaskId(): TaskId;
}

/** What a decision wants done. Empty units and no `wakeAt`: this key is as it should be. */
export interface Plan {
  /** Independent of one another; each is atomic. A conflict drops that unit and requeues the key. */
  readonly units: readonly Unit[];
  /** Ask again then, if nothing changes before. */
  readonly wakeAt?: Instant;
  /** For the debug log and for tests: why. */
  readonly because?: string;
}

export interface Reconciler<Key extends string = string> {
  readonly name: string;
  /** The keys that a change may concern. Too many is slow, too few is a bug. */
  keysOf(change: Change, view: View): Iterable<Key>;
  /** At the start of a reign, and on resync. */
  allKeys(view: View): Iterable<Key>;
  /** Pure: no clock, no log, no promise, no randomness but `tick`'s. */
  decide(view: View, key: Key, tick: Tick): Plan;
}

/** The plan that wants nothing. */
export const NOTHING: Plan = { units: [] };
