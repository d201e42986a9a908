/**
 * HTTP as registries want it: redirects to wherever blobs lie, certificates of one's own, proxies of the environment, an end to
 * every wait. Comes in: URLs. Goes out: answers with a body to be read or dumped. It knows nothing of images.
 */
import { rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent, errors, request } from 'undici';
import { ClusterError, messageOf } from '../errors.ts';
import { isLoopback } from './place.ts';

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly body: Dispatcher.ResponseData['body'];
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
/** With NO_PROXY; as curl and Docker read them. */
const PROXY_VARIABLES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'];
const TLS_FAULTS = /CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME|ERR_SSL|ERR_TLS|EPROTO/;

export class Http {
  readonly #options: HttpOptions;
  readonly #dispatcher: Dispatcher;

  constructor(options: HttpOptions) {
    this.#options = options;
    const stallMs = options.stallMs ?? STALL_MS;
    const connect = {
      timeout: stallMs,
      rejectUnauthorized: !options.isInsecure,
      // `ca` alone would take their place.
      ...(options.ca === undefined ? {} : { ca: [...rootCertificates, options.ca] }),
    };
    // `requestTls` is for the registry behind a proxy, which does not get `connect`.
    const settings = { connect, requestTls: connect, headersTimeout: stallMs, bodyTimeout: stallMs };
    const isDirect = isLoopback(options.host) || !PROXY_VARIABLES.some((name) => process.env[name]);
    this.#dispatcher = isDirect ? new Agent(settings) : new EnvHttpProxyAgent(settings);
  }

  /** Ends what is under way. */
  close(): Promise<void> {
    return this.#dispatcher.destroy();
  }

  /**
   * GET, redirects followed. `authorization` goes to the first host only.
   *
   * @throws ClusterError `unavailable` when nobody answers, `denied` when it cannot be trusted, `invalid` for a redirect that
   *   leads nowhere or out of TLS
   */
  async get(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    let at = url;
    let sent = headers;
    for (let hops = 0; hops <= REDIRECTS_MAX; hops += 1) {
      const answer = await this.#once(at, sent, signal);
      if (!REDIRECTS.includes(answer.status)) return answer;
      await answer.body.dump();
      const next = this.#target(answer, at);
      if (next.origin !== at.origin) {
        const { authorization: _, ...others } = sent;
        sent = others;
      }
      at = next;
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

  /** The error for an answer that no registry gives. */
  #wrong(why: string): ClusterError {
    return new ClusterError('invalid', `registry ${this.#options.host} ${why}`, {
      hint: 'is it a registry, and its address right?',
    });
  }

  async #once(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    try {
      const { statusCode, ...rest } = await request(url, { headers, signal, dispatcher: this.#dispatcher });
      return { status: statusCode, headers: rest.headers, body: rest.body };
    } catch (cause) {
      signal.throwIfAborted();
      throw this.#failure(cause);
    }
  }

  #target(answer: Answer, from: URL): URL {
    const location = answer.headers.location;
    const target =
      typeof location === 'string' && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    if (target === undefined) throw this.#wrong('redirects to nowhere');
    const isFine = target.protocol === 'https:' || (target.protocol === 'http:' && this.#options.isInsecure);
    if (!isFine) throw this.#wrong(`redirects to ${target.origin}, without TLS`);
    return target;
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
    return new ClusterError('unavailable', `registry ${host} ${why}`, { hint: 'try again later', cause });
  }
}

/** Connecting to several addresses in turn fails with an AggregateError that says nothing itself. */
function codeOf(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null) return '';
  if ('code' in cause && typeof cause.code === 'string') return cause.code;
  return 'cause' in cause ? codeOf(cause.cause) : '';
}
