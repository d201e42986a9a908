/**
 * A repository at a registry, read: manifests and blobs, by the OCI distribution spec.
 *
 * Comes in: a place, perhaps a login. Goes out: documents and bytes; digests are proved by whoever stores them, but a manifest
 * asked for by digest is proved here. It asks again when a registry is busy or away, and logs in when it is asked to.
 * Source: OCI distribution-spec 1.1; distribution, docs/spec/auth/token.md.
 */
import type { Clock } from '../clock.ts';
import { ClusterError, toClusterError } from '../errors.ts';
import type { Digest, Instant } from '../model/ids.ts';
import { digestOf, wrongDigest } from '../oci/digest.ts';
import { ImageJson } from '../oci/json.ts';
import { DOCUMENT_TYPES, JSON_BYTES_MAX } from '../oci/manifest.ts';
import { retry } from '../retry.ts';
import { chooseChallenge, tokenQuery } from './challenge.ts';
import { type Answer, Http } from './http.ts';
import { isLoopback, type RegistryPlace } from './place.ts';

export interface Login {
  readonly username: string;
  readonly password: string;
}

export interface RegistryOptions {
  readonly place: RegistryPlace;
  /** Also without TLS, or with a certificate that nobody vouches for. A loopback address is so by itself. */
  readonly isInsecure?: boolean;
  /** PEM; trusted beside the public CAs. */
  readonly ca?: string;
  readonly login?: Login;
  readonly clock: Clock;
  /** Without a byte for so long, it has stalled. Default: 30 s. */
  readonly stallMs?: number;
  /** How often what time heals is tried, in all. Default: 5. */
  readonly tries?: number;
}

/** An index or a manifest. */
export interface Document {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly text: string;
}

const TRIES = 5;
const BACKOFF = { firstMs: 500, maxMs: 8_000, jitter: 0.5 } as const;
/** A registry that asks for more patience is tried again all the same. */
const PATIENCE_MAX_MS = 60_000;
/** A token lives so long when its server does not say. Source: docs/spec/auth/token.md, `expires_in`. */
const TOKEN_LIFE_S = 60;
const TOKEN_MARGIN_MS = 10_000;

export class Registry {
  readonly #options: RegistryOptions;
  readonly #http: Http;
  readonly #isInsecure: boolean;
  #base: URL | undefined;
  #authorization: { readonly value: string; readonly until: Instant } | undefined;

  constructor(options: RegistryOptions) {
    const { place, ca, stallMs } = options;
    this.#options = options;
    this.#isInsecure = options.isInsecure === true || isLoopback(place.host);
    const more = { ...(ca === undefined ? {} : { ca }), ...(stallMs === undefined ? {} : { stallMs }) };
    this.#http = new Http({ host: place.host, isInsecure: this.#isInsecure, ...more });
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /**
   * An index or manifest by tag or digest.
   *
   * @throws ClusterError `not_found`, `denied` (login, or a certificate), `unavailable`, `exhausted` (asked too often),
   *   `invalid` when the answer is no such document
   */
  async manifest(reference: string, signal: AbortSignal): Promise<Document> {
    const { place } = this.#options;
    const name = `manifest "${reference}" of ${place.registry}/${place.repository}`;
    const accept = DOCUMENT_TYPES.join(', ');
    return await this.#patiently(async () => {
      const answer = await this.#get(`manifests/${reference}`, { accept }, name, signal);
      const type = typeOf(answer);
      if (type === 'text/html') throw notARegistry(place.host, 'answers with a web page');
      const text = await this.#text(answer, name, signal);
      const digest = digestOf(text);
      if (reference.startsWith('sha256:') && reference !== digest)
        throw wrongDigest({ name, digest: reference as Digest }, digest);
      const own = ImageJson.parse(text, name).text('mediaType', type);
      return { digest, mediaType: own, text };
    }, signal);
  }

  /** A blob's bytes from `offset` on. Asked once: what arrived is the caller's to keep. @throws as `manifest` */
  async *blob(digest: Digest, offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const name = `blob ${digest}`;
    const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const answer = await this.#get(`blobs/${digest}`, range, name, signal);
    let skip = offset - beginOf(answer);
    if (skip < 0) throw notARegistry(this.#options.place.host, `gives ${name} from another offset than asked`);
    for await (const piece of this.#http.pieces(answer, signal)) {
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      yield skip === 0 ? piece : piece.subarray(skip);
      skip = 0;
    }
  }

  /** What time heals is tried again. */
  async #patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { clock, tries = TRIES } = this.#options;
    return await retry(work, { clock, signal, ...BACKOFF, tries, isWorthwhile });
  }

  /** An answer of 200 or 206, its body unread; logged in when the registry asks for it. */
  async #get(
    path: string,
    headers: Readonly<Record<string, string>>,
    name: string,
    signal: AbortSignal,
  ): Promise<Answer> {
    const url = new URL(`${this.#options.place.repository}/${path}`, await this.#root(signal));
    const ask = (): Promise<Answer> => this.#http.get(url, { ...headers, ...this.#credentials() }, signal);
    let answer = await ask();
    if (answer.status === 401) {
      await answer.body.dump();
      this.#authorization = await this.#authorize(answer, signal);
      answer = await ask();
    }
    if (answer.status === 200 || answer.status === 206) return answer;
    await answer.body.dump();
    throw await this.#refusal(answer, name, signal);
  }

  #credentials(): Record<string, string> {
    const known = this.#authorization;
    return known === undefined || known.until <= this.#options.clock.now() ? {} : { authorization: known.value };
  }

  /** `…/v2/`, by TLS where the registry has it. */
  async #root(signal: AbortSignal): Promise<URL> {
    if (this.#base !== undefined) return this.#base;
    const base = new URL(`https://${this.#options.place.host}/v2/`);
    if (this.#isInsecure) {
      try {
        await (await this.#http.get(base, {}, signal)).body.dump();
      } catch (cause) {
        signal.throwIfAborted();
        if (!['denied', 'unavailable'].includes(toClusterError(cause).code)) throw cause;
        base.protocol = 'http:';
      }
    }
    this.#base = base;
    return base;
  }

  async #authorize(answer: Answer, signal: AbortSignal): Promise<{ value: string; until: Instant }> {
    const { place, login, clock } = this.#options;
    const headers = [answer.headers['www-authenticate'] ?? []].flat();
    const challenge = chooseChallenge(headers);
    const basic = login === undefined ? undefined : basicOf(login);
    if (challenge === undefined) throw notARegistry(place.host, 'asks for a login in a way that is not understood');
    if (challenge.scheme === 'basic') {
      if (basic === undefined) throw this.#denied('asks for a login');
      return { value: basic, until: Number.POSITIVE_INFINITY };
    }
    const url = URL.canParse(challenge.realm) ? new URL(challenge.realm) : undefined;
    if (url === undefined || (url.protocol !== 'https:' && !this.#isInsecure))
      throw notARegistry(place.host, `names the token server "${challenge.realm.slice(0, 200)}"`);
    url.search = tokenQuery(challenge, `repository:${place.repository}:pull`);
    const given = await this.#http.get(url, basic === undefined ? {} : { authorization: basic }, signal);
    if (given.status !== 200) {
      await given.body.dump();
      throw await this.#refusal(given, `a token for ${place.repository}`, signal);
    }
    const name = `token of ${url.host}`;
    const json = ImageJson.parse(await this.#text(given, name, signal), name);
    const life = json.has('expires_in') ? json.number('expires_in') : TOKEN_LIFE_S;
    const token = json.has('token') ? json.text('token') : json.text('access_token');
    return { value: `Bearer ${token}`, until: clock.now() + Math.max(life * 1_000 - TOKEN_MARGIN_MS, 1_000) };
  }

  async #text(answer: Answer, name: string, signal: AbortSignal): Promise<string> {
    const pieces: Uint8Array[] = [];
    let size = 0;
    for await (const piece of this.#http.pieces(answer, signal)) {
      size += piece.length;
      if (size > JSON_BYTES_MAX) throw notARegistry(this.#options.place.host, `gives more than 4 MiB as ${name}`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString('utf8');
  }

  async #refusal({ status, headers }: Answer, name: string, signal: AbortSignal): Promise<ClusterError> {
    const { place, clock } = this.#options;
    const from = `registry ${place.host}`;
    if (status === 401) return this.#denied('asks for a login');
    if (status === 403) return this.#denied('refuses access');
    if (status === 404) return new ClusterError('not_found', `${from} has no ${name}`, { field: 'image' });
    if (status !== 429 && status < 500) return notARegistry(place.host, `answers ${status} when asked for ${name}`);
    const seconds = Number(headers['retry-after']);
    if (seconds > 0) await clock.sleep(Math.min(seconds * 1_000, PATIENCE_MAX_MS), signal);
    if (status === 429) return new ClusterError('exhausted', `${from} is asked too often`, { hint: 'try again later' });
    return new ClusterError('unavailable', `${from} answers ${status} when asked for ${name}`, {
      hint: 'try again later',
    });
  }

  #denied(why: string): ClusterError {
    const { place, login } = this.#options;
    const what = login === undefined ? why : `refuses the login of "${login.username}"`;
    return new ClusterError('denied', `registry ${place.host} ${what} for ${place.repository}`, { field: 'image' });
  }
}

export function isWorthwhile(cause: unknown): boolean {
  return ['unavailable', 'exhausted'].includes(toClusterError(cause).code);
}

function basicOf({ username, password }: Login): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function typeOf(answer: Answer): string {
  return String(answer.headers['content-type'] ?? '')
    .replace(/;.*$/, '')
    .trim()
    .toLowerCase();
}

/** Of the first byte that the answer has. A registry may take no notice of a range. */
function beginOf(answer: Answer): number {
  if (answer.status !== 206) return 0;
  return Number(/^bytes (\d+)-/.exec(String(answer.headers['content-range']))?.[1] ?? Number.POSITIVE_INFINITY);
}

function notARegistry(host: string, why: string): ClusterError {
  return new ClusterError('invalid', `registry ${host} ${why}`, { hint: 'is it a registry, and its address right?' });
}
