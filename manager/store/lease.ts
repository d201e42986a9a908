/**
 * A lease of etcd, renewed from a timer of its own until it is revoked or lost. `lost` is aborted before etcd can give the
 * lease's keys to anybody else: each renewal counts from when it was sent, less a margin.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Etcd } from './etcd.ts';

/** etcd grants no less than 2; three leave room for two missed renewals. */
export const LEASE_SECONDS = 3;
/** Four renewals a lease. Nothing may hold up the event loop for more than 100 ms, so that they leave in time. */
export const RENEW_EVERY_MS = 750;
/** `lost` comes this much before etcd's end of the lease, so that who leads next finds its predecessor already stopped. */
const LOST_BEFORE_MS = 300;
/** How long giving a lease back may take; it ends by itself otherwise. */
const REVOKE_MAX_MS = 1_000;

export class Lease {
  readonly id: string;
  readonly #etcd: Etcd;
  readonly #clock: Clock;
  readonly #lost = new AbortController();
  #cancelEnd: () => void;
  #cancelRenewal: () => void = () => {};

  private constructor(etcd: Etcd, clock: Clock, granted: { readonly id: string; readonly deadline: Deadline }) {
    this.#etcd = etcd;
    this.#clock = clock;
    this.id = granted.id;
    this.#cancelEnd = granted.deadline.cancel;
    granted.deadline.whenPassed(() => this.lose('it was not renewed in time'));
    this.#renewLater();
  }

  /** @throws ClusterError `unavailable` */
  static async grant(etcd: Etcd, clock: Clock, signal: AbortSignal): Promise<Lease> {
    const deadline = new Deadline(clock);
    try {
      return new Lease(etcd, clock, { id: await etcd.grant(LEASE_SECONDS, signal), deadline });
    } catch (cause) {
      deadline.cancel();
      throw cause;
    }
  }

  /** Aborted when the lease has ended or may have; the reason says why. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Stops renewing: from now on the lease counts as lost. */
  lose(because: string): void {
    if (this.#lost.signal.aborted) return;
    this.#cancelEnd();
    this.#cancelRenewal();
    this.#lost.abort(new ClusterError('unavailable', `the lease has ended: ${because}`));
  }

  /** Gives the lease back, and with it its keys; if etcd does not answer it ends by itself. */
  async revoke(): Promise<void> {
    this.lose('it was given back');
    const limit = new AbortController();
    const cancel = this.#clock.after(REVOKE_MAX_MS, () => limit.abort(new ClusterError('unavailable', 'no answer')));
    try {
      await this.#etcd.revoke(this.id, limit.signal);
    } catch {
      // Gone already, or gone within LEASE_SECONDS.
    } finally {
      cancel();
    }
  }

  #renewLater(): void {
    this.#cancelRenewal = this.#clock.after(RENEW_EVERY_MS, () => {
      this.#renewLater();
      // An answer that does not come leads to the deadline of the last one that did.
      this.#renew().catch(() => {});
    });
  }

  async #renew(): Promise<void> {
    const deadline = new Deadline(this.#clock);
    try {
      const seconds = await this.#etcd.renew(this.id, this.#lost.signal);
      if (seconds <= 0) this.lose('etcd has forgotten it');
      if (this.#lost.signal.aborted) return deadline.cancel();
      this.#cancelEnd();
      this.#cancelEnd = deadline.cancel;
      deadline.whenPassed(() => this.lose('it was not renewed in time'));
    } catch (cause) {
      deadline.cancel();
      throw cause;
    }
  }
}

/** The end of a lease if the request that is about to be sent is answered. Begins to run at once. */
class Deadline {
  #isPassed = false;
  #then: () => void = () => {};
  readonly cancel: () => void;

  constructor(clock: Clock) {
    this.cancel = clock.after(LEASE_SECONDS * 1_000 - LOST_BEFORE_MS, () => {
      this.#isPassed = true;
      this.#then();
    });
  }

  whenPassed(then: () => void): void {
    this.#then = then;
    if (this.#isPassed) then();
  }
}
