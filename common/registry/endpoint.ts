/**
 * One registry's API at one address. Comes in: requests for paths beneath `/v2/`. Goes out: answers, with the login that the registry
 * asks for, and refusals in words. It knows neither manifests nor blobs; `Registry` reads by it, `Uploads` writes.
 * Source: OCI distribution-spec 1.1; distribution, docs/spec/auth/token.md.
 */
import type { Clock } from '../clock.ts';
import { ClusterError, toClusterError } from '../errors.ts';
import type { Instant } from '../model/ids.ts';
import { ImageJson } from '../oci/json.ts';
import { JSON_BYTES_MAX } from '../oci/manifest.ts';
import { retry } from '../retry.ts';
import { type Challenge, chooseChallenge, tokenQuery } from './challenge.ts';
import { type Answer, Http, isAway, type Request } from './http.ts';
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

/** A request beneath `/v2/`. */
export interface Ask extends Omit<Request, 'url' | 'headers'> {
  /** Or the whole URL, as an upload's is given. */
  readonly path: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** What a token must allow, as `repository:web:pull`. */
  readonly scopes: readonly string[];
}

export const TRIES = 5;
export const BACKOFF = { firstMs: 500, maxMs: 8_000, jitter: 0.5 } as const;
/** A registry that asks for more patience is tried again all the same. */
const PATIENCE_MAX_MS = 60_000;
/** A token lives so long when its server does not say. Source: docs/spec/auth/token.md, `expires_in`. */
const TOKEN_LIFE_S = 60;
const TOKEN_MARGIN_MS = 10_000;
const COMPLAINT_MAX = 200;

interface Authorization {
  readonly value: string;
  readonly until: Instant;
}

export class Endpoint {
  readonly place: RegistryPlace;
  readonly #options: RegistryOptions;
  readonly #http: Http;
  readonly #isInsecure: boolean;
  #base: URL | undefined;
  /** By scopes; a password is good for all of them. */
  readonly #authorizations = new Map<string, Authorization>();

  constructor(options: RegistryOptions) {
    const { place, ca, stallMs } = options;
    this.place = place;
    this.#options = options;
    this.#isInsecure = options.isInsecure === true || isLoopback(place.host);
    const more = { ...(ca === undefined ? {} : { ca }), ...(stallMs === undefined ? {} : { stallMs }) };
    this.#http = new Http({ host: place.host, isInsecure: this.#isInsecure, ...more });
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** What time heals is tried again. */
  async patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { clock, tries = TRIES } = this.#options;
    return await retry(work, { clock, signal, ...BACKOFF, tries, isWorthwhile });
  }

  /**
   * One answer, its body unread, whatever its status; logged in when the registry asks for it.
   *
   * @throws ClusterError as Http.send, and `denied` when the login is refused
   */
  async ask({ path, headers = {}, scopes, ...rest }: Ask, signal: AbortSignal): Promise<Answer> {
    const base = await this.#root(signal);
    const url = path instanceof URL ? path : new URL(path, base);
    // Where blobs are taken elsewhere, that URL is all there is to know.
    const isOurs = url.origin === base.origin;
    const send = (): Promise<Answer> => {
      const known = isOurs ? this.#authorization(scopes) : undefined;
      const more: Record<string, string> = known === undefined ? {} : { authorization: known };
      return this.#http.send({ ...rest, url, headers: { ...headers, ...more } }, signal);
    };
    const answer = await send();
    if (answer.status !== 401 || !isOurs) return answer;
    await answer.body.dump();
    await this.#authorize(answer, scopes, signal);
    return await send();
  }

  /** The URL that an answer to `from` names. @throws ClusterError `invalid` */
  async locationOf(answer: Answer, from: string | URL, signal: AbortSignal): Promise<URL> {
    return this.#http.target(answer, from instanceof URL ? from : new URL(from, await this.#root(signal)));
  }

  pieces(answer: Answer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    return this.#http.pieces(answer, signal);
  }

  /** A body of at most 4 MiB. @throws ClusterError `invalid` when it is larger */
  async text(answer: Answer, name: string, signal: AbortSignal): Promise<string> {
    const pieces: Uint8Array[] = [];
    let size = 0;
    for await (const piece of this.#http.pieces(answer, signal)) {
      size += piece.length;
      if (size > JSON_BYTES_MAX) throw this.wrong(`gives more than 4 MiB as ${name}`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString('utf8');
  }

  /** The error for an answer that is none of those hoped for; its body is read. Waits as long as the registry asks for. */
  async refusal(answer: Answer, name: string, signal: AbortSignal): Promise<ClusterError> {
    const { status } = answer;
    const from = `registry ${this.place.host}`;
    const complaint = await this.#complaint(answer, signal);
    if (status === 401) return this.#denied('asks for a login', complaint);
    if (status === 403) return this.#denied('refuses access', complaint);
    if (status === 404) return new ClusterError('not_found', `${from} has no ${name}${complaint}`, { field: 'image' });
    if (status !== 429 && status < 500) return this.wrong(`answers ${status} for ${name}${complaint}`);
    await this.#wait(answer, signal);
    const hint = 'try again later';
    if (status === 429) return new ClusterError('exhausted', `${from} is asked too often${complaint}`, { hint });
    return new ClusterError('unavailable', `${from} answers ${status} for ${name}${complaint}`, { hint });
  }

  /** The error for an answer that no registry gives. */
  wrong(why: string): ClusterError {
    return new ClusterError('invalid', `registry ${this.place.host} ${why}`, {
      hint: 'is it a registry, and its address right?',
    });
  }

  #authorization(scopes: readonly string[]): string | undefined {
    for (const key of ['', scopes.join(' ')]) {
      const known = this.#authorizations.get(key);
      if (known !== undefined && known.until > this.#options.clock.now()) return known.value;
    }
    return undefined;
  }

  /** `…/v2/`, by TLS where the registry has it. */
  async #root(signal: AbortSignal): Promise<URL> {
    if (this.#base !== undefined) return this.#base;
    const { host, scheme } = this.place;
    const base = new URL(`${scheme ?? 'https'}://${host}/v2/`);
    if (this.#isInsecure && scheme === undefined) {
      try {
        await (await this.#http.send({ method: 'GET', url: base, headers: {} }, signal)).body.dump();
      } catch (cause) {
        signal.throwIfAborted();
        if (!['denied', 'unavailable'].includes(toClusterError(cause).code)) throw cause;
        base.protocol = 'http:';
      }
    }
    this.#base = base;
    return base;
  }

  async #authorize(answer: Answer, scopes: readonly string[], signal: AbortSignal): Promise<void> {
    const { login } = this.#options;
    const headers = [answer.headers['www-authenticate'] ?? []].flat();
    const challenge = chooseChallenge(headers);
    const basic = login === undefined ? undefined : basicOf(login);
    if (challenge === undefined) throw this.wrong('asks for a login in a way that is not understood');
    if (challenge.scheme === 'basic') {
      if (basic === undefined) throw this.#denied('asks for a login', '');
      this.#authorizations.set('', { value: basic, until: Number.POSITIVE_INFINITY });
      return;
    }
    this.#authorizations.set(scopes.join(' '), await this.#token(challenge, scopes, signal));
  }

  async #token(
    challenge: Challenge & { readonly scheme: 'bearer' },
    scopes: readonly string[],
    signal: AbortSignal,
  ): Promise<Authorization> {
    const { login, clock } = this.#options;
    const url = URL.canParse(challenge.realm) ? new URL(challenge.realm) : undefined;
    if (url === undefined || (url.protocol !== 'https:' && !this.#isInsecure))
      throw this.wrong(`names the token server "${challenge.realm.slice(0, 200)}"`);
    url.search = tokenQuery(challenge, scopes);
    const headers: Record<string, string> = login === undefined ? {} : { authorization: basicOf(login) };
    const given = await this.#http.send({ method: 'GET', url, headers }, signal);
    if (given.status !== 200) throw await this.refusal(given, `token for ${this.place.repository}`, signal);
    const name = `token of ${url.host}`;
    const json = ImageJson.parse(await this.text(given, name, signal), name);
    const life = json.has('expires_in') ? json.number('expires_in') : TOKEN_LIFE_S;
    const token = json.has('token') ? json.text('token') : json.text('access_token');
    return { value: `Bearer ${token}`, until: clock.now() + Math.max(life * 1_000 - TOKEN_MARGIN_MS, 1_000) };
  }

  /** As `: …`, what the registry itself says; empty when it says nothing that is understood. */
  async #complaint(answer: Answer, signal: AbortSignal): Promise<string> {
    if (!typeOf(answer).endsWith('json')) {
      await answer.body.dump();
      return '';
    }
    try {
      const { errors } = JSON.parse(await this.text(answer, 'error', signal)) as { errors?: { message?: unknown }[] };
      const said = Array.isArray(errors) ? errors[0]?.message : undefined;
      return typeof said === 'string' && said !== ''
        ? `: ${said.replace(/[^\x20-\x7e]/g, '?').slice(0, COMPLAINT_MAX)}`
        : '';
    } catch {
      // What went wrong is known by the status; these are only words about it.
      signal.throwIfAborted();
      return '';
    }
  }

  async #wait({ headers }: Answer, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const asked = String(headers['retry-after'] ?? '');
    const waitMs = /^\d+$/.test(asked) ? Number(asked) * 1_000 : Date.parse(asked) - clock.now();
    if (waitMs > 0) await clock.sleep(Math.min(waitMs, PATIENCE_MAX_MS), signal);
  }

  #denied(why: string, complaint: string): ClusterError {
    const { login } = this.#options;
    const { host, registry, repository } = this.place;
    const what = login === undefined ? why : `refuses the login of "${login.username}"`;
    const about = repository === '' ? '' : ` for ${repository}`;
    const hint =
      login === undefined ? { hint: `log in first: covey login${registry === 'docker.io' ? '' : ` ${registry}`}` } : {};
    return new ClusterError('denied', `registry ${host} ${what}${about}${complaint}`, { field: 'image', ...hint });
  }
}

/** Time may heal it, and a try a moment later is worth its while. */
export function isWorthwhile(cause: unknown): boolean {
  return ['unavailable', 'exhausted'].includes(toClusterError(cause).code) && !isAway(cause);
}

/** Of the body, in lower case, without parameters. */
export function typeOf(answer: Answer): string {
  return String(answer.headers['content-type'] ?? '')
    .replace(/;.*$/, '')
    .trim()
    .toLowerCase();
}

function basicOf({ username, password }: Login): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
