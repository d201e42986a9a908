/**
 * HTTP as registries want it: redirects to wherever blobs lie, certificates of one's own, proxies of the environment, an end to
 * every wait. Comes in: requests. Goes out: answers with a body to be read or dumped. It knows nothing of images.
 */
import { rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, errors, ProxyAgent, request } from 'undici';
import { ClusterError, messageOf } from '../errors.ts';
import { isLoopback } from './place.ts';
import { proxyFor, proxySettings } from './proxy.ts';

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly body: Dispatcher.ResponseData['body'];
}

export interface Request {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT';
  readonly url: URL;
  /** Names in lower case; `authorization` goes to the first host only. */
  readonly headers: Readonly<Record<string, string>>;
  /** Asked anew for each time it is sent; `content-length` must be among the headers. */
  readonly body?: () => AsyncIterable<Uint8Array> | Uint8Array;
  /** Silence before the answer that is no stall: whoever stores a large blob thinks long. Default: as the options say. */
  readonly silenceMs?: number;
}

export interface HttpOptions {
  /** `HOST[:PORT]`, for messages and to tell this machine itself, which no proxy is asked for. */
  readonly host: string;
  /** Certificates are not looked at, and http is allowed. */
  readonly isInsecure: boolean;
  /** PEM; trusted beside the public CAs. */
  readonly ca?: string;
  /** Without a byte for so long, a registry has stalled. Default: 30 s. */
  readonly stallMs?: number;
}

const REDIRECTS = [301, 302, 303, 307, 308];
const REDIRECTS_MAX = 5;
const STALL_MS = 30_000;
const TLS_FAULTS = /CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME|ERR_SSL|ERR_TLS|EPROTO/;
/** Nobody is there, which a second try a moment later does not change. */
const AWAY = [
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
];

export class Http {
  readonly #options: HttpOptions;
  readonly #settings: Agent.Options;
  /** By proxy; empty: straight there. */
  readonly #dispatchers = new Map<string, Dispatcher>();

  constructor(options: HttpOptions) {
    this.#options = options;
    const stallMs = options.stallMs ?? STALL_MS;
    const connect = {
      timeout: stallMs,
      rejectUnauthorized: !options.isInsecure,
      // `ca` alone would take their place.
      ...(options.ca === undefined ? {} : { ca: [...rootCertificates, options.ca] }),
    };
    this.#settings = { connect, headersTimeout: stallMs, bodyTimeout: stallMs };
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    await Promise.all([...this.#dispatchers.values()].map((each) => each.destroy()));
  }

  /**
   * Redirects are followed; a body goes along only where the method stays (307, 308).
   *
   * @throws ClusterError `unavailable` when nobody answers, `denied` when it cannot be trusted, `invalid` for a redirect that
   *   leads nowhere or out of TLS
   */
  async send(first: Request, signal: AbortSignal): Promise<Answer> {
    let asked = first;
    for (let hops = 0; hops <= REDIRECTS_MAX; hops += 1) {
      const answer = await this.#once(asked, signal);
      if (!REDIRECTS.includes(answer.status)) return answer;
      await answer.body.dump();
      const url = this.target(answer, asked.url);
      const keepsMethod = asked.body === undefined || answer.status >= 307;
      if (!keepsMethod) throw this.#wrong(`answers ${answer.status} to a ${asked.method}`);
      const { authorization: _, ...others } = asked.headers;
      asked = { ...asked, url, headers: url.origin === asked.url.origin ? asked.headers : others };
    }
    throw this.#wrong(`redirects more than ${REDIRECTS_MAX} times`);
  }

  /** The pieces of a body. @throws ClusterError `unavailable` when it ends before its time or stalls */
  async *pieces(answer: Answer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of answer.body) yield piece as Uint8Array;
    } catch (cause) {
      signal.throwIfAborted();
      throw this.#failure(cause);
    }
  }

  /** Where an answer sends us. @throws ClusterError `invalid` */
  target(answer: Answer, from: URL): URL {
    const location = answer.headers.location;
    const target =
      typeof location === 'string' && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    if (target === undefined) throw this.#wrong('redirects to nowhere');
    const isFine = target.protocol === 'https:' || (target.protocol === 'http:' && this.#options.isInsecure);
    if (!isFine) throw this.#wrong(`redirects to ${target.origin}, without TLS`);
    return target;
  }

  /** The error for an answer that no registry gives. */
  #wrong(why: string): ClusterError {
    return new ClusterError('invalid', `registry ${this.#options.host} ${why}`, {
      hint: 'is it a registry, and its address right?',
    });
  }

  async #once({ method, url, headers, body, silenceMs }: Request, signal: AbortSignal): Promise<Answer> {
    let unread: unknown;
    // A body that cannot be read is not the registry's fault.
    const watched = async function* (pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      try {
        yield* pieces;
      } catch (cause) {
        unread = cause;
        throw cause;
      }
    };
    const given = body?.();
    const sent = given === undefined || given instanceof Uint8Array ? given : watched(given);
    try {
      const { statusCode, ...rest } = await request(url, {
        method,
        headers,
        signal,
        dispatcher: this.#dispatcher(url),
        ...(sent === undefined ? {} : { body: sent as never }),
        ...(silenceMs === undefined ? {} : { headersTimeout: Math.max(silenceMs, this.#settings.headersTimeout ?? 0) }),
      });
      return { status: statusCode, headers: rest.headers, body: rest.body };
    } catch (cause) {
      signal.throwIfAborted();
      if (unread !== undefined) throw unread;
      throw this.#failure(cause);
    }
  }

  #dispatcher(url: URL): Dispatcher {
    const proxy = isLoopback(url.host) ? '' : (proxyFor(url, proxySettings(process.env)) ?? '');
    const known = this.#dispatchers.get(proxy);
    if (known !== undefined) return known;
    // `requestTls` is for the registry behind a proxy, which does not get `connect`.
    const { connect: requestTls, ...others } = this.#settings;
    const made =
      proxy === '' ? new Agent(this.#settings) : new ProxyAgent({ ...others, uri: proxy, requestTls } as never);
    this.#dispatchers.set(proxy, made);
    return made;
  }

  #failure(cause: unknown): ClusterError {
    if (cause instanceof ClusterError) return cause;
    const { host } = this.#options;
    const code = codeOf(cause);
    if (TLS_FAULTS.test(code)) {
      return new ClusterError('denied', `registry ${host} cannot be trusted: ${messageOf(cause) || code}`, {
        hint: 'give the manager its CA with --registry-certs, or name the registry with --insecure-registry',
        cause,
      });
    }
    const stalled = cause instanceof errors.HeadersTimeoutError || cause instanceof errors.BodyTimeoutError;
    const why = stalled
      ? `was silent for ${(this.#options.stallMs ?? STALL_MS) / 1_000} s`
      : `cannot be reached: ${messageOf(cause) || code}`;
    const hint = AWAY.includes(code) ? 'is its address right, and does it run?' : 'try again later';
    return new ClusterError('unavailable', `registry ${host} ${why}`, { hint, cause });
  }
}

/** Whether the failure is that nobody is there: no name, no way, or a machine that refuses the connection. */
export function isAway(cause: unknown): boolean {
  return AWAY.includes(codeOf(cause));
}

/** Connecting to several addresses in turn fails with an AggregateError that says nothing itself. */
function codeOf(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null) return '';
  if ('code' in cause && typeof cause.code === 'string' && !(cause instanceof ClusterError)) return cause.code;
  return 'cause' in cause ? codeOf(cause.cause) : '';
}
