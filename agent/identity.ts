/** This node's key and certificate, and their renewal while sessions go on. */
import type { Clock } from '../common/clock.ts';
import { messageOf } from '../common/errors.ts';
import { isAbort } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import type { Instant } from '../common/model/ids.ts';
import { backoff } from '../common/retry.ts';
import { createRequest } from '../common/tls/certificate.ts';
import { expiryOf, type Identity, renewalAt, writeIdentity } from '../common/tls/identity.ts';
import { Ca } from '../proto/methods.ts';
import type { RpcChannel } from '../proto/rpc-channel.ts';

const RETRY_FIRST_MS = 5_000;
const RETRY_MAX_MS = 600_000;
const RENEW_MS = 10_000;

export interface IdentityTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly dial: (address: string, identity: Identity) => RpcChannel;
  /** Any manager's address; undefined when none is known. */
  readonly anyManager: () => string | undefined;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

export class IdentityKeeper {
  readonly #path: string;
  readonly #tools: IdentityTools;
  readonly #listeners = new Set<() => void>();
  #identity: Identity;

  /** @param path  where the identity is kept */
  constructor(path: string, identity: Identity, tools: IdentityTools) {
    this.#path = path;
    this.#identity = identity;
    this.#tools = tools;
  }

  /** The newest one: for every new connection. */
  get current(): Identity {
    return this.#identity;
  }

  /** When the certificate ends. */
  get expiresAt(): Instant {
    return expiryOf(this.#identity);
  }

  /** Told after each renewal. Returns what ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Renews between 50 and 80 % of the certificate's life, again and again; rejects only with the signal's reason. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#tools;
    for (;;) {
      const at = renewalAt(this.#identity, random());
      // A timer ends after 24 days: look again when it does.
      while (clock.now() < at) await clock.sleep(at - clock.now(), signal);
      await this.#renewSomehow(signal);
    }
  }

  async #renewSomehow(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#tools;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#renew(signal);
        return;
      } catch (cause) {
        if (isAbort(cause, signal)) throw cause;
        const delayMs = backoff(attempt, RETRY_FIRST_MS, RETRY_MAX_MS);
        log.warn({ expiresAt: this.expiresAt, delayMs, reason: messageOf(cause) }, 'certificate not renewed yet');
        await clock.sleep(delayMs, signal);
      }
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { dial, anyManager, log } = this.#tools;
    const address = anyManager() ?? this.#identity.managers[0] ?? '';
    const channel = dial(address, this.#identity);
    try {
      const { csr, key } = await createRequest();
      const reply = await channel.service(Ca).renew({ csr }, { signal, deadlineMs: RENEW_MS });
      const renewed = { ...this.#identity, certificate: reply.certificate, ca: reply.ca, key };
      await writeIdentity(this.#path, renewed);
      this.#identity = renewed;
    } finally {
      channel.close();
    }
    log.info({ expiresAt: this.expiresAt }, 'certificate renewed');
    for (const listener of this.#listeners) listener();
  }
}
