/**
 * Campaigns for the lead and rules while it lasts. In goes what a leader does; it is started anew for every reign and
 * stopped completely before the next campaign. Nothing it knows may live longer than its reign.
 */
import type { Clock } from '../common/clock.ts';
import { ClusterError } from '../common/errors.ts';
import { isAbort } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import type { Candidate, Reign, Store } from './store/store.ts';

/** After work that failed by itself another manager gets its chance first. */
const LEAD_AGAIN_MS = 1_000;

export interface LeaderParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly candidate: Candidate;
  readonly log: Log;
  /**
   * Everything only a leader does; ends when `signal` is aborted. When it ends or fails by itself the lead is given back.
   */
  readonly rule: (reign: Reign, signal: AbortSignal) => Promise<void>;
}

/** Runs until `signal` is aborted; the lead is resigned before this resolves. */
export async function lead(parts: LeaderParts, signal: AbortSignal): Promise<void> {
  try {
    while (!signal.aborted) await reignOnce(parts, signal);
  } catch (cause) {
    if (!isAbort(cause, signal)) throw cause;
  }
}

async function reignOnce({ store, clock, candidate, log, rule }: LeaderParts, signal: AbortSignal): Promise<void> {
  const { managerId } = candidate;
  const reign = await store.reign(candidate, signal);
  // Its own end too, so that nothing of it goes on when `rule` has returned.
  const end = new AbortController();
  const stop = AbortSignal.any([signal, reign.lost, end.signal]);
  log.info({ managerId, epoch: reign.epoch }, 'this manager leads');
  let failed = false;
  try {
    await rule(reign, stop);
    failed = !stop.aborted;
    if (failed) log.warn({ managerId, epoch: reign.epoch }, 'the leader’s work ended by itself');
  } catch (cause) {
    failed = !isAbort(cause, stop);
    if (failed) log.error({ managerId, epoch: reign.epoch, cause }, 'the leader’s work failed');
  } finally {
    end.abort(new ClusterError('unavailable', 'the reign has ended'));
    await reign.resign();
    log.info({ managerId, epoch: reign.epoch }, 'this manager leads no more');
  }
  if (failed) await clock.sleep(LEAD_AGAIN_MS, signal);
}
