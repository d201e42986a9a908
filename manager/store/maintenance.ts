/**
 * Keeps etcd small: forgets old revisions, gives space back, and lifts the alarm that etcd raises when it is full. Every
 * manager runs it, not only the leader: a full etcd grants no leases, so that nobody could come to lead. Doing it twice
 * does no harm.
 */
import type { Clock } from '../../common/clock.ts';
import { isAbort } from '../../common/lifecycle.ts';
import type { Log } from '../../common/log.ts';
import type { Revision } from '../../common/model/ids.ts';
import type { Etcd, EtcdHealth } from './etcd.ts';

/** How long a full etcd may stay full before somebody looks. */
const LOOK_EVERY_MS = 5_000;
/** Revisions are kept so long, for watchers that come back after a break. */
const KEEP_HISTORY_MS = 5 * 60_000;
/** Defragmenting blocks etcd for about a second per GB, so only when it frees more than half of at least this. */
const DEFRAGMENT_FROM_BYTES = 128 * 1024 * 1024;

export interface MaintenanceParts {
  readonly etcd: Etcd;
  readonly clock: Clock;
  readonly log: Log;
}

/** Runs until `signal` is aborted; what fails is tried again at the next look. */
export async function maintain(parts: MaintenanceParts, signal: AbortSignal): Promise<void> {
  const { clock, log } = parts;
  let kept = { at: clock.now(), revision: 0 };
  while (!signal.aborted) {
    try {
      const health = await parts.etcd.health(signal);
      if (health.alarms.includes('NOSPACE')) await makeRoom(parts, signal);
      else kept = await forgetOld(parts, health, kept, signal);
      await clock.sleep(LOOK_EVERY_MS, signal);
    } catch (cause) {
      if (isAbort(cause, signal)) return;
      log.warn({ cause }, 'etcd maintenance failed');
      await clock.sleep(LOOK_EVERY_MS, signal).catch(() => {});
    }
  }
}

/** Compacts everything, gives the space back and lifts the alarm. What is stored stays. */
export async function makeRoom({ etcd, log }: MaintenanceParts, signal: AbortSignal): Promise<void> {
  const before = await etcd.health(signal);
  await compact(etcd, before.revision, signal);
  await etcd.defragment(signal);
  await etcd.disarm(signal);
  const after = await etcd.health(signal);
  log.error({ beforeBytes: before.sizeBytes, afterBytes: after.sizeBytes }, 'etcd was out of space and was compacted');
}

interface Kept {
  readonly at: number;
  /** Where etcd was then; what is older goes next time. */
  readonly revision: Revision;
}

async function forgetOld(
  { etcd, clock, log }: MaintenanceParts,
  health: EtcdHealth,
  kept: Kept,
  signal: AbortSignal,
): Promise<Kept> {
  if (clock.now() - kept.at < KEEP_HISTORY_MS)
    return kept.revision === 0 ? { ...kept, revision: health.revision } : kept;
  if (kept.revision > 1) await compact(etcd, kept.revision, signal);
  if (health.sizeBytes > DEFRAGMENT_FROM_BYTES && health.usedBytes * 2 < health.sizeBytes) {
    await etcd.defragment(signal);
    log.info({ beforeBytes: health.sizeBytes, usedBytes: health.usedBytes }, 'etcd was defragmented');
  }
  return { at: clock.now(), revision: health.revision };
}

/** Another manager may have been faster. */
async function compact(etcd: Etcd, revision: Revision, signal: AbortSignal): Promise<void> {
  try {
    await etcd.compact(revision, signal);
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause) || cause.code !== 'conflict') throw cause;
  }
}
