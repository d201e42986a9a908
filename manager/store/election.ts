/** The election: a key that only one can put, bound to a lease. Written by hand, because the fence needs its revision. */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { aborted } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import type { Leader, Manager } from '../../common/model/cluster.ts';
import type { Epoch } from '../../common/model/node.ts';
import { retry } from '../../common/retry.ts';
import { encode } from './codec.ts';
import type { Committer } from './committer.ts';
import type { Etcd, EtcdOp } from './etcd.ts';
import type { Feed } from './feed.ts';
import type { Keys } from './keys.ts';
import { Lease } from './lease.ts';
import type { Candidate, CommitResult, Reign, Unit, View } from './store.ts';

/** A candidate looks again this often even if nothing seems to happen. */
const LOOK_AGAIN_MS = 2_000;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 1_000;

export interface ElectionParts {
  readonly etcd: Etcd;
  readonly keys: Keys;
  readonly view: View;
  readonly feed: Feed;
  readonly committer: Committer;
  readonly clock: Clock;
  readonly log: Log;
}

/** Waits until the lead is free and takes it. Rejects only when `signal` is aborted. */
export function campaign(parts: ElectionParts, candidate: Candidate, signal: AbortSignal): Promise<Reign> {
  const attempt = async (): Promise<Reign> => {
    for (;;) {
      await vacancy(parts, signal);
      const reign = await seize(parts, candidate, signal);
      if (reign !== undefined) return reign;
    }
  };
  return retry(attempt, retryOptions(parts, signal, 'the campaign for the lead met an error'));
}

/** Keeps the manager's key there; a lost lease is followed by a new one. Resolves when `signal` is aborted. */
export async function announce(parts: ElectionParts, manager: Manager, signal: AbortSignal): Promise<void> {
  const key = parts.keys.of('manager', manager.id);
  const present = async (): Promise<void> => {
    const lease = await Lease.grant(parts.etcd, parts.clock, signal);
    try {
      const op: EtcdOp = { op: 'put', key, value: encode('manager', manager), lease: lease.id };
      await parts.etcd.txn({ units: [{ compares: [], ops: [op] }] }, signal);
      await aborted(AbortSignal.any([lease.lost, signal]));
      signal.throwIfAborted();
    } finally {
      await lease.revoke();
    }
    throw new ClusterError('unavailable', `the lease of manager "${manager.id}" was lost`);
  };
  try {
    await retry(present, retryOptions(parts, signal, 'this manager cannot be announced'));
  } catch (cause) {
    if (!signal.aborted) throw cause;
  }
}

function retryOptions(parts: ElectionParts, signal: AbortSignal, message: string) {
  return {
    clock: parts.clock,
    signal,
    firstMs: RETRY_FIRST_MS,
    maxMs: RETRY_MAX_MS,
    jitter: 0.3,
    onFailure: (cause: unknown, delayMs: number) => parts.log.warn({ cause, delayMs }, message),
  };
}

/** Resolves when the view shows no leader. The view may be behind; `seize` finds that out. */
async function vacancy(parts: ElectionParts, signal: AbortSignal): Promise<void> {
  const look = new AbortController();
  const stop = AbortSignal.any([signal, look.signal]);
  const changes = parts.feed.subscribe(stop);
  let cancel = (): void => {};
  try {
    if (parts.view.get('leader', 'default') === undefined) return;
    cancel = parts.clock.after(LOOK_AGAIN_MS, () => look.abort());
    for await (const _change of changes) if (parts.view.get('leader', 'default') === undefined) return;
    signal.throwIfAborted();
  } finally {
    cancel();
    look.abort();
  }
}

/** Tries once; undefined when somebody else was faster. */
async function seize(parts: ElectionParts, candidate: Candidate, signal: AbortSignal): Promise<Reign | undefined> {
  const { etcd, keys, clock, feed, view } = parts;
  const key = keys.of('leader', 'default');
  const leader: Leader = { managerId: candidate.managerId, address: candidate.address, since: clock.now() };
  const lease = await Lease.grant(etcd, clock, signal);
  try {
    const op: EtcdOp = { op: 'put', key, value: encode('leader', leader), lease: lease.id };
    const answer = await etcd.txn(
      { units: [{ compares: [{ key, target: 'create', revision: 0 }], ops: [op] }] },
      signal,
    );
    if (answer.units[0]?.held) {
      await feed.reached(answer.revision, AbortSignal.any([signal, lease.lost]));
      const incarnation = view.get('cluster', 'default')?.value.incarnation ?? 0;
      return new EtcdReign(parts, lease, { incarnation, reign: answer.revision });
    }
  } catch (cause) {
    // The put may have been made: without its lease nobody could lead until it ends.
    await lease.revoke();
    throw cause;
  }
  await lease.revoke();
  // The view does not show the winner yet, or it has just gone; without a wait this would ask in a circle.
  await clock.sleep(RETRY_FIRST_MS, signal);
  return undefined;
}

class EtcdReign implements Reign {
  readonly epoch: Epoch;
  readonly #committer: Committer;
  readonly #lease: Lease;

  constructor(parts: ElectionParts, lease: Lease, epoch: Epoch) {
    this.#committer = parts.committer;
    this.#lease = lease;
    this.epoch = epoch;
    this.#guard(parts).catch((cause: unknown) => lease.lose(toClusterError(cause).message));
  }

  get lost(): AbortSignal {
    return this.#lease.lost;
  }

  async commit(units: readonly Unit[], signal: AbortSignal): Promise<readonly CommitResult[]> {
    const results = await this.#committer.commit(units, this.epoch, signal);
    if (results.some((result) => result.kind === 'lost')) this.#lease.lose('another reign has begun');
    return results;
  }

  resign(): Promise<void> {
    return this.#lease.revoke();
  }

  /** The key itself may go before the lease does: deleted by hand, or in another history after a restore. */
  async #guard({ feed, view }: ElectionParts): Promise<void> {
    const isOurs = (): boolean => view.get('leader', 'default')?.rev === this.epoch.reign;
    const changes = feed.subscribe(this.lost);
    if (isOurs()) {
      for await (const _change of changes) if (!isOurs()) break;
    }
    this.#lease.lose('the key of the leader was taken away');
  }
}
