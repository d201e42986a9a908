/** How etcd is, in words for `covey cluster info`. */
import { messageOf } from '../common/errors.ts';
import type { EtcdReport, StoreHealth } from './control/cluster.ts';
import type { OpenStore } from './open-store.ts';

/** An etcd that does not answer so long is not well. */
const ANSWER_MS = 3_000;

/** Asks `opened`'s etcd; `quotaBytes` is ours only if etcd is. */
export function storeHealth(opened: Pick<OpenStore, 'etcd' | 'embedded'>, quotaBytes: number): StoreHealth {
  const embedded = opened.embedded !== undefined;
  const base = { sizeBytes: 0, quotaBytes: embedded ? quotaBytes : 0, version: '', embedded };
  return {
    async report(signal: AbortSignal): Promise<EtcdReport> {
      try {
        const health = await opened.etcd.health(AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
        const message = health.alarms.map(alarmInWords).join('; ');
        return { ...base, healthy: message === '', message, sizeBytes: health.sizeBytes, version: health.version };
      } catch (cause) {
        signal.throwIfAborted();
        return { ...base, healthy: false, message: `does not answer: ${messageOf(cause)}` };
      }
    },
  };
}

function alarmInWords(alarm: string): string {
  if (alarm === 'NOSPACE') return 'out of space: nothing can be written until it has been compacted';
  if (alarm === 'CORRUPT') return 'its members disagree: restore it from a backup';
  return alarm;
}
