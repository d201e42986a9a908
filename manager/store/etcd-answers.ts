/** What etcd answers, in our words: watch responses as whole revisions, failures as ClusterErrors. */
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { Revision } from '../../common/model/ids.ts';

/** One key's change; `value` absent = deleted. */
export interface EtcdEvent {
  readonly key: string;
  readonly value: Uint8Array | undefined;
  readonly rev: Revision;
}

/** `events` are all of one or more whole revisions, oldest first; `opened` comes first and tells how far etcd is. */
export type EtcdPart =
  | { readonly kind: 'opened'; readonly revision: Revision; readonly clusterId: string }
  | { readonly kind: 'events'; readonly events: readonly EtcdEvent[] }
  | { readonly kind: 'compacted' };

interface WatchResponse {
  readonly header: { readonly revision: string; readonly cluster_id: string };
  readonly created: boolean;
  readonly canceled: boolean;
  readonly cancel_reason: string;
  readonly compact_revision: string;
  readonly fragment: boolean;
  readonly events: readonly {
    readonly type: string;
    readonly kv: { readonly key: Buffer; readonly value: Buffer; readonly mod_revision: string };
  }[];
}

/** Fragments are put together again, because a revision may be spread over several. */
export async function* fromWatch(stream: AsyncIterable<unknown>): AsyncIterable<EtcdPart> {
  let events: EtcdEvent[] = [];
  for await (const response of stream as AsyncIterable<WatchResponse>) {
    if (Number(response.compact_revision) > 0) {
      yield { kind: 'compacted' };
      return;
    }
    if (response.canceled) throw new ClusterError('unavailable', `etcd ended the watch: ${response.cancel_reason}`);
    if (response.created) {
      yield { kind: 'opened', revision: Number(response.header.revision), clusterId: response.header.cluster_id };
    }
    for (const { type, kv } of response.events) {
      const value = type.toLowerCase() === 'delete' ? undefined : kv.value;
      events.push({ key: kv.key.toString(), value, rev: Number(kv.mod_revision) });
    }
    if (response.fragment || events.length === 0) continue;
    yield { kind: 'events', events };
    events = [];
  }
}

/** grpc-js' words for a call that never left: no connection could be made, or none of its addresses resolved. */
export const WAS_NOT_SENT = /No connection established|Name resolution failed|ECONNREFUSED|ENOENT/;

const NO_SPACE = /database space exceeded|NOSPACE/;
const COMPACTED = /required revision has been compacted/;
const DENIED = /permission denied|authentication|invalid auth token|certificate|SSL|handshake/i;
const NOT_FOUND = /requested lease not found/;
const OURS = /too many operations|request is too large|duplicate key|INVALID_ARGUMENT/;

/**
 * etcd3 hides gRPC's status behind classes of its own, some by text alone; the text is what stays the same.
 * Codes: `exhausted` no space, `conflict` compacted, `denied`, `not_found` lease, `internal` a request that etcd can
 * never take, else `unavailable`, whose outcome is unknown.
 */
export function asClusterError(cause: unknown, what: string): ClusterError {
  if (cause instanceof ClusterError) return cause;
  const message = `etcd: ${what}: ${messageOf(cause)}`;
  if (NO_SPACE.test(message)) {
    return new ClusterError('exhausted', `etcd is out of space: ${what} was refused`, {
      hint: 'the leader compacts and frees space by itself; if that is not enough, raise the quota',
      cause,
    });
  }
  if (COMPACTED.test(message))
    return new ClusterError('conflict', `etcd: ${what}: that revision was compacted`, { cause });
  if (NOT_FOUND.test(message)) return new ClusterError('not_found', `etcd: ${what}: the lease has ended`, { cause });
  if (OURS.test(message)) return new ClusterError('internal', message, { cause });
  if (DENIED.test(message)) {
    return new ClusterError('denied', message, { hint: 'check the etcd certificates and their CA', cause });
  }
  return new ClusterError('unavailable', message, { hint: 'etcd does not answer; see whether it runs', cause });
}
