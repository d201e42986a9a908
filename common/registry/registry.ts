/**
 * A repository at a registry, read: manifests and blobs, by the OCI distribution spec.
 *
 * Comes in: a place, perhaps a login. Goes out: documents and bytes; digests are proved by whoever stores them, but a manifest
 * asked for by digest is proved here. It asks again when a registry is busy or away.
 * Source: OCI distribution-spec 1.1, "Pull".
 */
import type { Digest } from '../model/ids.ts';
import { digestOf, wrongDigest } from '../oci/digest.ts';
import { ImageJson } from '../oci/json.ts';
import { DOCUMENT_TYPES } from '../oci/manifest.ts';
import { Endpoint, type RegistryOptions, typeOf } from './endpoint.ts';
import type { Answer } from './http.ts';

/** An index or a manifest. */
export interface Document {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly text: string;
}

/** Registries give fewer where they want to. */
const TAGS_EACH = 1_000;
const TAGS_MAX = 100_000;

export class Registry {
  readonly #endpoint: Endpoint;

  constructor(options: RegistryOptions) {
    this.#endpoint = new Endpoint(options);
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  /**
   * An index or manifest by tag or digest.
   *
   * @throws ClusterError `not_found`, `denied` (login, or a certificate), `unavailable`, `exhausted` (asked too often),
   *   `invalid` when the answer is no such document
   */
  async manifest(reference: string, signal: AbortSignal): Promise<Document> {
    const { place } = this.#endpoint;
    const name = `manifest "${reference}" of ${place.registry}/${place.repository}`;
    const accept = DOCUMENT_TYPES.join(', ');
    return await this.#endpoint.patiently(async () => {
      const answer = await this.#get(`manifests/${reference}`, { accept }, name, signal);
      const type = typeOf(answer);
      if (type === 'text/html') {
        await answer.body.dump();
        throw this.#endpoint.wrong('answers with a web page');
      }
      const text = await this.#endpoint.text(answer, name, signal);
      const digest = digestOf(text);
      if (reference.startsWith('sha256:') && reference !== digest)
        throw wrongDigest({ name, digest: reference as Digest }, digest);
      const own = ImageJson.parse(text, name).text('mediaType', type);
      return { digest, mediaType: own, text };
    }, signal);
  }

  /** Every tag of the repository, as the registry orders them. @throws as `manifest` */
  async tags(signal: AbortSignal): Promise<readonly string[]> {
    const { place } = this.#endpoint;
    const name = `list of tags of ${place.registry}/${place.repository}`;
    const tags: string[] = [];
    const seen = new Set<string>();
    for (let query: string | undefined = `?n=${TAGS_EACH}`; query !== undefined; ) {
      if (seen.has(query) || tags.length > TAGS_MAX) throw this.#endpoint.wrong(`gives a ${name} without an end`);
      seen.add(query);
      const page: { readonly tags: readonly string[]; readonly next?: string } = await this.#tagPage(
        query,
        name,
        signal,
      );
      tags.push(...page.tags);
      query = page.next;
    }
    return tags;
  }

  async #tagPage(
    query: string,
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly tags: readonly string[]; readonly next?: string }> {
    return await this.#endpoint.patiently(async () => {
      const answer = await this.#get(`tags/list${query}`, {}, name, signal);
      const json = ImageJson.parse(await this.#endpoint.text(answer, name, signal), name);
      const tags = json.has('tags') ? json.list('tags', TAGS_MAX).map((each) => each.asText()) : [];
      const next = nextQuery([answer.headers.link ?? []].flat());
      return next === undefined ? { tags } : { tags, next };
    }, signal);
  }

  /** A blob's bytes from `offset` on. Asked once: what arrived is the caller's to keep. @throws as `manifest` */
  async *blob(digest: Digest, offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const name = `blob ${digest}`;
    const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const answer = await this.#get(`blobs/${digest}`, range, name, signal);
    let skip = offset - beginOf(answer);
    if (skip < 0) throw this.#endpoint.wrong(`gives ${name} from another offset than asked`);
    for await (const piece of this.#endpoint.pieces(answer, signal)) {
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      yield skip === 0 ? piece : piece.subarray(skip);
      skip = 0;
    }
  }

  /** An answer of 200 or 206, its body unread. */
  async #get(
    path: string,
    headers: Readonly<Record<string, string>>,
    name: string,
    signal: AbortSignal,
  ): Promise<Answer> {
    const { repository } = this.#endpoint.place;
    const scopes = [`repository:${repository}:pull`];
    const answer = await this.#endpoint.ask({ method: 'GET', path: `${repository}/${path}`, headers, scopes }, signal);
    if (answer.status === 200 || answer.status === 206) return answer;
    throw await this.#endpoint.refusal(answer, name, signal);
  }
}

/** Where the list goes on. Only its query counts: the list is this repository's. Source: RFC 8288; distribution-spec 1.1, "Content Discovery". */
function nextQuery(links: readonly string[]): string | undefined {
  for (const link of links.flatMap((each) => each.split(/,(?=\s*<)/))) {
    const [, target = ''] = /^\s*<([^>]*)>\s*;.*\brel="?next"?/i.exec(link) ?? [];
    const query = target.indexOf('?');
    if (query >= 0) return target.slice(query);
  }
  return undefined;
}

/** Of the first byte that the answer has. A registry may take no notice of a range. */
function beginOf(answer: Answer): number {
  if (answer.status !== 206) return 0;
  return Number(/^bytes (\d+)-/.exec(String(answer.headers['content-range']))?.[1] ?? Number.POSITIVE_INFINITY);
}
