/**
 * Logins of registries as objects of the cluster, so that whichever manager is asked can pull. Comes in: a registry and a login
 * that is known to be good. Goes out: the login, to whoever speaks to that registry. A password never leaves otherwise: not
 * into logs, events, errors or answers.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { RegistryLogin } from '../../common/model/cluster.ts';
import type { Login } from '../../common/registry/endpoint.ts';
import { put, remove, type Store, type Write } from '../store/store.ts';

export interface LoginsOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** What only managers have; absent: the CA's key, which whoever reads etcd has too (ADR 0020). */
  readonly key?: Uint8Array;
}

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export class Logins {
  readonly #options: LoginsOptions;

  constructor(options: LoginsOptions) {
    this.#options = options;
  }

  /** That of a registry, as names of images have it. @throws ClusterError `denied` when another key encrypted it */
  of(registry: string): Login | undefined {
    const stored = this.#options.store.view.get('login', registry)?.value;
    if (stored === undefined) return undefined;
    return { username: stored.username, password: this.#open(stored) };
  }

  /** By registry. */
  list(): readonly RegistryLogin[] {
    const all = [...this.#options.store.view.all('login')].map(({ value }) => value);
    return all.toSorted((a, b) => (a.registry < b.registry ? -1 : 1));
  }

  /** Keeps it in the place of an earlier one. */
  async keep(registry: string, { username, password }: Login, signal: AbortSignal): Promise<void> {
    const createdAt = this.#options.clock.now();
    const about = { registry, username, createdAt };
    await this.#write(put('login', registry, { ...about, sealed: this.#seal(about, password) }), signal);
  }

  /** Whether there was one. */
  async forget(registry: string, signal: AbortSignal): Promise<boolean> {
    const wasKnown = this.#options.store.view.get('login', registry) !== undefined;
    if (wasKnown) await this.#write(remove('login', registry), signal);
    return wasKnown;
  }

  async #write(write: Write, signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    for (const result of await store.commit([[write]], signal))
      if (result.kind === 'done') await store.reached(result.revision, signal);
  }

  #seal(about: Omit<RegistryLogin, 'sealed'>, password: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key(), nonce).setAAD(boundTo(about));
    const text = Buffer.concat([cipher.update(password, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64');
  }

  #open(login: RegistryLogin): string {
    const bytes = Buffer.from(login.sealed, 'base64');
    const tagEnd = NONCE_BYTES + TAG_BYTES;
    try {
      const options = { authTagLength: TAG_BYTES };
      const decipher = createDecipheriv(CIPHER, this.#key(), bytes.subarray(0, NONCE_BYTES), options)
        .setAAD(boundTo(login))
        .setAuthTag(bytes.subarray(NONCE_BYTES, tagEnd));
      return Buffer.concat([decipher.update(bytes.subarray(tagEnd)), decipher.final()]).toString('utf8');
    } catch (cause) {
      throw new ClusterError('denied', `the login of registry ${login.registry} was encrypted with another key`, {
        hint: `give every manager the same --registry-login-key, then: covey login ${login.registry}`,
        cause,
      });
    }
  }

  #key(): Uint8Array {
    const { store, key } = this.#options;
    const cluster = store.view.get('cluster', 'default')?.value;
    if (cluster === undefined) throw new ClusterError('unavailable', 'this manager has no cluster yet');
    return new Uint8Array(hkdfSync('sha256', key ?? cluster.ca.key, cluster.id, 'covey registry logins', KEY_BYTES));
  }
}

/** A password moved to another registry's or user's entry cannot be read. */
function boundTo({ registry, username }: Omit<RegistryLogin, 'sealed'>): Buffer {
  return Buffer.from(JSON.stringify([registry, username]));
}
