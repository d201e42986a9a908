/**
 * The door to etcd: the only file that imports etcd3. In go plain requests, out come plain answers and ClusterErrors.
 *
 * Of etcd3 only the raw services are used. Its watcher resumes a broken watch from the revision of the `created` header
 * instead of the last event delivered, so that what happened in between vanishes silently; its default policies send a
 * transaction again whose first outcome is unknown. Neither may happen here: a broken watch simply ends (follower.ts opens
 * the next one), and only what was certainly not sent is sent again.
 */
import { Etcd3 } from 'etcd3';
import type { ICompare, IRequestOp, ITxnResponse } from 'etcd3/lib/rpc.js';
import type { Clock } from '../../common/clock.ts';
import { ClusterError, messageOf } from '../../common/errors.ts';
import { untilAborted } from '../../common/iterate.ts';
import type { Revision } from '../../common/model/ids.ts';
import { asClusterError, type EtcdPart, fromWatch, WAS_NOT_SENT } from './etcd-answers.ts';

/** How long etcd may take for one answer; then its outcome counts as unknown. Twice its own election timeout and more. */
const ANSWER_MAX_MS = 5_000;
/** A page of 5,000 objects of a few hundred bytes is far below; a fragment of a watch is at most 2 MiB. */
const RECEIVE_MAX_BYTES = 256 * 1024 * 1024;
/** etcd closes connections that ping more often than each 5 s. Source: etcd, `--grpc-keepalive-min-time`. */
const PING_EVERY_MS = 10_000;
const PING_ANSWER_MAX_MS = 5_000;
const CONNECT_FIRST_MS = 50;
const CONNECT_MAX_MS = 1_000;

export interface EtcdOptions {
  /** `unix:/path/client:0`, `http://HOST:PORT` or `https://HOST:PORT`; all of one scheme. */
  readonly endpoints: readonly string[];
  /** PEM, for `https`. */
  readonly tls?: { readonly ca: Buffer; readonly certificate: Buffer; readonly key: Buffer };
  readonly clock: Clock;
}

/** Holds if the key's `mod_revision` or `create_revision` is this; 0: the key does not exist. */
export interface EtcdCompare {
  readonly key: string;
  readonly target: 'mod' | 'create';
  readonly revision: Revision;
}

export type EtcdOp =
  | { readonly op: 'put'; readonly key: string; readonly value: Uint8Array; readonly lease?: string }
  | { readonly op: 'delete'; readonly key: string };

/** All of `ops` if all of `compares` hold, else nothing. */
export interface EtcdUnit {
  readonly compares: readonly EtcdCompare[];
  readonly ops: readonly EtcdOp[];
}

export interface EtcdTxn {
  readonly units: readonly EtcdUnit[];
  /** Nothing is written unless it holds. */
  readonly fence?: EtcdCompare | undefined;
  /**
   * A key that is put as well, empty. etcd counts only the outer operations against its quota (3.4 and 3.5, `costTxnReq`):
   * nested puts alone would fill the disk past any limit. It also gives every transaction a revision of its own.
   */
  readonly mark?: string | undefined;
}

export interface EtcdTxnResult {
  /** The store's revision after it; of its writes, if it wrote. */
  readonly revision: Revision;
  /** False: the fence did not hold, nothing was written. */
  readonly fenceHeld: boolean;
  /** One per unit, in order; empty when the fence did not hold. */
  readonly units: readonly { readonly held: boolean; readonly wrote: boolean }[];
}

export interface EtcdObject {
  readonly key: string;
  readonly value: Uint8Array;
  readonly rev: Revision;
}

export interface EtcdPage {
  readonly revision: Revision;
  readonly clusterId: string;
  readonly objects: readonly EtcdObject[];
  readonly more: boolean;
}

export interface PageRequest {
  /** First key of the page. */
  readonly from: string;
  /** All keys begin with it. */
  readonly root: string;
  readonly limit: number;
  /** Absent: the newest. */
  readonly revision?: Revision;
}

export interface EtcdHealth {
  readonly version: string;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly revision: Revision;
  /** `NOSPACE`, `CORRUPT`. */
  readonly alarms: readonly string[];
}

interface CallLimits {
  readonly deadline: number;
}

export class Etcd {
  readonly #client: Etcd3;
  readonly #clock: Clock;

  constructor(options: EtcdOptions) {
    this.#clock = options.clock;
    const { tls } = options;
    this.#client = new Etcd3({
      hosts: [...options.endpoints],
      ...(tls && { credentials: { rootCertificate: tls.ca, privateKey: tls.key, certChain: tls.certificate } }),
      grpcOptions: {
        'grpc.max_receive_message_length': RECEIVE_MAX_BYTES,
        'grpc.keepalive_time_ms': PING_EVERY_MS,
        'grpc.keepalive_timeout_ms': PING_ANSWER_MAX_MS,
        'grpc.initial_reconnect_backoff_ms': CONNECT_FIRST_MS,
        'grpc.min_reconnect_backoff_ms': CONNECT_FIRST_MS,
        'grpc.max_reconnect_backoff_ms': CONNECT_MAX_MS,
        // One that waits for a dead connection would come back as if etcd had been asked.
        'grpc.enable_retries': 0,
      },
      faultHandling: { host: () => passOn(1), global: passOn(options.endpoints.length) },
    });
  }

  /** All units in one transaction, each with its own compares. */
  async txn({ units, fence, mark }: EtcdTxn, signal: AbortSignal): Promise<EtcdTxnResult> {
    const success = units.map(toNested);
    if (mark !== undefined) success.push(toOp({ op: 'put', key: mark, value: new Uint8Array() }));
    const compare = fence === undefined ? [] : [toCompare(fence)];
    const answer = await this.#ask('commit', signal, (limits) =>
      this.#client.kv.txn({ compare, success, failure: [] }, limits),
    );
    return {
      revision: Number(answer.header.revision),
      fenceHeld: answer.succeeded,
      units: answer.succeeded ? units.map((_, index) => outcome(answer.responses[index]?.response_txn)) : [],
    };
  }

  /** Keys in order from `from` on. @throws ClusterError `conflict` when `revision` has been compacted */
  async page(request: PageRequest, signal: AbortSignal): Promise<EtcdPage> {
    const answer = await this.#ask('read', signal, (limits) =>
      this.#client.kv.range(
        {
          key: Buffer.from(request.from),
          range_end: endOf(request.root),
          limit: request.limit,
          ...(request.revision === undefined ? {} : { revision: request.revision }),
        },
        limits,
      ),
    );
    const objects = answer.kvs.map((kv) => ({ key: kv.key.toString(), value: kv.value, rev: Number(kv.mod_revision) }));
    const { revision, cluster_id } = answer.header;
    return { revision: request.revision ?? Number(revision), clusterId: cluster_id, objects, more: answer.more };
  }

  /**
   * What happens to the keys beneath `root` from revision `from` on. Ends with `signal`, after `compacted`, or throws
   * `unavailable` when the stream breaks: a new one must then be opened from the last revision seen.
   */
  async *watch(root: string, from: Revision, signal: AbortSignal): AsyncIterable<EtcdPart> {
    const stream = await this.#open('watch', signal, () => this.#client.watchClient.watch());
    const cancel = (): void => stream.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      stream.write({
        create_request: { key: Buffer.from(root), range_end: endOf(root), start_revision: from, fragment: true },
      });
      yield* fromWatch(stream as unknown as AsyncIterable<unknown>);
      signal.throwIfAborted();
      throw new ClusterError('unavailable', 'etcd ended the watch');
    } catch (cause) {
      if (signal.aborted) return;
      throw asClusterError(cause, 'watch');
    } finally {
      signal.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }

  /** A lease of `ttlSeconds`, counted from some time before this resolves. */
  async grant(ttlSeconds: number, signal: AbortSignal): Promise<string> {
    const answer = await this.#ask('lease', signal, (limits) =>
      this.#client.leaseClient.leaseGrant({ TTL: ttlSeconds }, limits),
    );
    return answer.ID;
  }

  /** Renews the lease; the seconds it has left, 0 = it is gone. */
  async renew(lease: string, signal: AbortSignal): Promise<number> {
    const limits = this.#limits();
    const stream = await this.#open('renew', signal, () => this.#client.leaseClient.leaseKeepAlive(limits));
    const cancel = (): void => stream.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      stream.write({ ID: lease });
      for await (const answer of stream as unknown as AsyncIterable<{ readonly TTL: string }>)
        return Number(answer.TTL);
      throw new ClusterError('unavailable', 'etcd ended the renewal of a lease');
    } catch (cause) {
      signal.throwIfAborted();
      throw asClusterError(cause, 'renew');
    } finally {
      signal.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }

  /** Ends the lease and deletes its keys. */
  async revoke(lease: string, signal: AbortSignal): Promise<void> {
    await this.#ask('revoke', signal, (limits) => this.#client.leaseClient.leaseRevoke({ ID: lease }, limits));
  }

  /** Forgets all revisions before `revision`; resolves when the space is free for reuse. */
  async compact(revision: Revision, signal: AbortSignal): Promise<void> {
    await this.#ask('compact', signal, (limits) => this.#client.kv.compact({ revision, physical: true }, limits));
  }

  /** Gives free space back to the file system. Blocks etcd meanwhile. */
  async defragment(signal: AbortSignal): Promise<void> {
    await this.#ask('defragment', signal, () =>
      this.#client.maintenance.defragment({ deadline: this.#clock.now() + 60_000 }),
    );
  }

  /** Version, size and alarms. */
  async health(signal: AbortSignal): Promise<EtcdHealth> {
    const status = await this.#ask('status', signal, (limits) => this.#client.maintenance.status(limits));
    const alarm = await this.#ask('alarms', signal, (limits) =>
      this.#client.maintenance.alarm({ action: 'Get' }, limits),
    );
    return {
      version: status.version,
      sizeBytes: Number(status.dbSize),
      usedBytes: Number(status.dbSizeInUse),
      revision: Number(status.header.revision),
      alarms: alarm.alarms.map((one) => one.alarm.toUpperCase()),
    };
  }

  /** Lifts the NOSPACE alarm on all members. */
  async disarm(signal: AbortSignal): Promise<void> {
    const { alarms } = await this.#ask('alarms', signal, (limits) =>
      this.#client.maintenance.alarm({ action: 'Get' }, limits),
    );
    for (const alarm of alarms) {
      await this.#ask('disarm', signal, (limits) =>
        this.#client.maintenance.alarm({ action: 'Deactivate', memberID: alarm.memberID, alarm: alarm.alarm }, limits),
      );
    }
  }

  close(): void {
    this.#client.close();
  }

  #limits(): CallLimits {
    return { deadline: this.#clock.now() + ANSWER_MAX_MS };
  }

  async #ask<T>(what: string, signal: AbortSignal, call: (limits: CallLimits) => Promise<T>): Promise<T> {
    try {
      return await untilAborted(call(this.#limits()), signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw asClusterError(cause, what);
    }
  }

  async #open<T>(what: string, signal: AbortSignal, open: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    try {
      return await open();
    } catch (cause) {
      throw asClusterError(cause, what);
    }
  }
}

type Policy = NonNullable<NonNullable<NonNullable<ConstructorParameters<typeof Etcd3>[0]>['faultHandling']>['global']>;

/** A policy of etcd3's that tries `hosts` times, but again only what was certainly not sent. */
function passOn(hosts: number): Policy {
  const never = () => ({ dispose: () => {} });
  const execute = async (call: (context: { signal: AbortSignal }) => unknown): Promise<unknown> => {
    const { signal } = new AbortController();
    for (let host = 1; ; host += 1) {
      try {
        return await call({ signal });
      } catch (cause) {
        if (host >= hosts || !WAS_NOT_SENT.test(messageOf(cause))) throw cause;
      }
    }
  };
  return { execute, onSuccess: never, onFailure: never } as unknown as Policy;
}

function toCompare(compare: EtcdCompare): ICompare {
  const key = Buffer.from(compare.key);
  switch (compare.target) {
    case 'mod':
      return { key, target: 'Mod', result: 'Equal', mod_revision: compare.revision };
    case 'create':
      return { key, target: 'Create', result: 'Equal', create_revision: compare.revision };
  }
}

function toNested(unit: EtcdUnit): IRequestOp {
  return { request_txn: { compare: unit.compares.map(toCompare), success: unit.ops.map(toOp), failure: [] } };
}

function toOp(op: EtcdOp): IRequestOp {
  const key = Buffer.from(op.key);
  switch (op.op) {
    case 'put':
      return {
        request_put: { key, value: Buffer.from(op.value), ...(op.lease === undefined ? {} : { lease: op.lease }) },
      };
    case 'delete':
      return { request_delete_range: { key } };
  }
}

function outcome(answer: ITxnResponse | undefined): { readonly held: boolean; readonly wrote: boolean } {
  if (answer === undefined) return { held: false, wrote: false };
  const wrote = answer.responses.some(
    (response) => response.response_put != null || Number(response.response_delete_range?.deleted ?? 0) > 0,
  );
  return { held: answer.succeeded, wrote: answer.succeeded && wrote };
}

/** The first key after all that begin with `root`, which ends with a slash. */
function endOf(root: string): Buffer {
  const end = Buffer.from(root);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}
