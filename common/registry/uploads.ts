/**
 * A repository at a registry, written: blobs that it lacks, then manifests that name them.
 *
 * Comes in: blobs by digest, with their bytes from any offset on. Goes out: what the registry has confirmed. A small blob goes in one
 * request, a large one in chunks, and what breaks off is gone on with where the registry says it stands. It reads no images.
 * Source: OCI distribution-spec 1.1, "Push".
 */
import { ClusterError } from '../errors.ts';
import type { Digest } from '../model/ids.ts';
import { retry } from '../retry.ts';
import { BACKOFF, Endpoint, isWorthwhile, type RegistryOptions, TRIES } from './endpoint.ts';
import { type Answer, isAway } from './http.ts';

/** A blob to be sent. */
export interface Parcel {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Its bytes from `offset` on; may be asked again and again. */
  readonly read: (offset: number) => AsyncIterable<Uint8Array>;
  /** Another repository of the registry that may have it. */
  readonly mountFrom?: string;
  /** Told of bytes that are on their way; goes back when a try fails. */
  readonly onProgress?: (sent: number) => void;
}

export type Delivery = 'exists' | 'mounted' | 'sent';

export interface UploadOptions extends RegistryOptions {
  /** Repositories that blobs may be mounted from: the token must allow to read them. */
  readonly mountFrom?: readonly string[];
  /** Of a chunk, and the largest blob that goes in one. Default: 32 MiB, which proxies on the way let through. */
  readonly chunkBytes?: number;
}

/** Where an upload goes on. */
interface Upload {
  readonly at: URL;
  readonly offset: number;
  readonly chunkBytes: number;
}

const CHUNK_BYTES = 32 * 1024 * 1024;
/** No registry may ask for more at once: it is what is sent again when it breaks off. */
const CHUNK_BYTES_MAX = 512 * 1024 * 1024;
/** Whoever stores a large blob, perhaps in another's store, and proves it, may think so long. */
const COMMIT_SILENCE_MS = 300_000;
/** Answers of registries that take no chunks. */
const NO_CHUNKS = [400, 405, 501];
const OCTETS = 'application/octet-stream';

export class Uploads {
  readonly #endpoint: Endpoint;
  readonly #options: UploadOptions;
  readonly #scopes: readonly string[];
  #takesChunks = true;

  constructor(options: UploadOptions) {
    const { place, mountFrom = [] } = options;
    this.#options = options;
    this.#endpoint = new Endpoint(options);
    const readable = mountFrom.map((repository) => `repository:${repository}:pull`);
    this.#scopes = [`repository:${place.repository}:pull,push`, ...readable];
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  /**
   * Brings a blob there, by the least that the registry lets it be done with.
   *
   * @throws ClusterError `denied`, `unavailable`, `exhausted`, `invalid` when the registry has got other bytes, and what `read` throws
   */
  async deliver(parcel: Parcel, signal: AbortSignal): Promise<Delivery> {
    if (await this.#has(parcel.digest, signal)) return 'exists';
    let upload: Upload | undefined;
    let arrived = 0;
    let tries = this.#options.tries ?? TRIES;
    const again = (cause: unknown): boolean => (isWorthwhile(cause) || isAway(cause)) && --tries > 0;
    const { clock } = this.#options;
    return await retry(
      async () => {
        if (upload !== undefined) upload = await this.#whereItStands(upload, signal);
        if (upload === undefined) {
          const begun = await this.#begin(parcel, signal);
          if (begun === 'mounted') return begun;
          upload = begun;
        }
        if (parcel.size <= upload.chunkBytes || !this.#takesChunks) {
          // What is sent in one request is sent anew, whole.
          const { at } = upload;
          upload = undefined;
          await this.#sendWhole(at, parcel, signal);
          return 'sent';
        }
        while (upload !== undefined && upload.offset < parcel.size) {
          upload = await this.#sendChunk(upload, parcel, signal);
          if (upload === undefined || upload.offset <= arrived) continue;
          arrived = upload.offset;
          tries = this.#options.tries ?? TRIES;
        }
        if (upload === undefined) throw new ClusterError('unavailable', `${this.#name(parcel.digest)} is begun anew`);
        await this.#finish(upload.at, parcel.digest, undefined, signal);
        return 'sent';
      },
      { clock, signal, ...BACKOFF, isWorthwhile: again },
    );
  }

  /** Puts a manifest all of whose blobs are there, its very bytes, under a tag. @throws as `deliver` */
  async putManifest(
    tag: string,
    manifest: { readonly digest: Digest; readonly mediaType: string; readonly bytes: Uint8Array },
    signal: AbortSignal,
  ): Promise<void> {
    const { digest, mediaType, bytes } = manifest;
    const { repository, registry } = this.#endpoint.place;
    const name = `manifest "${tag}" of ${registry}/${repository}`;
    await this.#endpoint.patiently(async () => {
      const headers = { 'content-type': mediaType, 'content-length': String(bytes.length) };
      const path = `${repository}/manifests/${tag}`;
      const put = { method: 'PUT', path, headers, body: () => bytes, scopes: this.#scopes } as const;
      const answer = await this.#endpoint.ask({ ...put, silenceMs: COMMIT_SILENCE_MS }, signal);
      await this.#mustBe(answer, [201], name, signal);
      this.#mustMatch(answer, digest, name);
    }, signal);
  }

  async #has(digest: Digest, signal: AbortSignal): Promise<boolean> {
    return await this.#endpoint.patiently(async () => {
      const path = `${this.#endpoint.place.repository}/blobs/${digest}`;
      const answer = await this.#endpoint.ask({ method: 'HEAD', path, scopes: this.#scopes }, signal);
      if (answer.status !== 404) await this.#mustBe(answer, [200], this.#name(digest), signal);
      else await answer.body.dump();
      return answer.status !== 404;
    }, signal);
  }

  async #begin({ digest, mountFrom }: Parcel, signal: AbortSignal): Promise<Upload | 'mounted'> {
    const base = `${this.#endpoint.place.repository}/blobs/uploads/`;
    const path = mountFrom === undefined ? base : `${base}?${new URLSearchParams({ mount: digest, from: mountFrom })}`;
    const headers = { 'content-length': '0' };
    const answer = await this.#endpoint.ask({ method: 'POST', path, headers, scopes: this.#scopes }, signal);
    const name = `upload of ${this.#name(digest)}`;
    await this.#mustBe(answer, mountFrom === undefined ? [202] : [201, 202], name, signal);
    if (answer.status === 201) {
      this.#mustMatch(answer, digest, name);
      return 'mounted';
    }
    const least = Math.min(Number(answer.headers['oci-chunk-min-length']) || 0, CHUNK_BYTES_MAX);
    const chunkBytes = Math.max(this.#options.chunkBytes ?? CHUNK_BYTES, least);
    return { at: await this.#endpoint.locationOf(answer, path, signal), offset: 0, chunkBytes };
  }

  /** Undefined when the registry knows nothing of it any more: docker-registry 2 gives up what broke off within a chunk. */
  async #whereItStands(upload: Upload, signal: AbortSignal): Promise<Upload | undefined> {
    const answer = await this.#endpoint.ask({ method: 'GET', path: upload.at, scopes: this.#scopes }, signal);
    if (answer.status === 404) {
      await answer.body.dump();
      return undefined;
    }
    await this.#mustBe(answer, [204], 'upload', signal);
    return await this.#next(upload, answer, signal);
  }

  async #sendWhole(at: URL, parcel: Parcel, signal: AbortSignal): Promise<void> {
    const bytes = { size: parcel.size, read: () => counted(parcel, 0, parcel.size) };
    await this.#finish(at, parcel.digest, bytes, signal);
  }

  /** Undefined: to be begun anew. */
  async #sendChunk(upload: Upload, parcel: Parcel, signal: AbortSignal): Promise<Upload | undefined> {
    const { at, offset, chunkBytes } = upload;
    const end = Math.min(offset + chunkBytes, parcel.size);
    const headers = {
      'content-type': OCTETS,
      'content-length': String(end - offset),
      'content-range': `${offset}-${end - 1}`,
    };
    const body = (): AsyncIterable<Uint8Array> => counted(parcel, offset, end);
    const patch = { method: 'PATCH', path: at, headers, body, scopes: this.#scopes } as const;
    const answer = await this.#endpoint.ask(patch, signal);
    if (answer.status === 404) {
      await answer.body.dump();
      return undefined;
    }
    if (answer.status === 416) {
      await answer.body.dump();
      throw new ClusterError('unavailable', `registry ${this.#endpoint.place.host} stands elsewhere in the upload`);
    }
    if (offset === 0 && NO_CHUNKS.includes(answer.status)) {
      await answer.body.dump();
      this.#takesChunks = false;
      return undefined;
    }
    await this.#mustBe(answer, [202, 201, 204], `chunk of ${this.#name(parcel.digest)}`, signal);
    return await this.#next({ ...upload, offset: end }, answer, signal);
  }

  /** With no bytes, what has been sent is all. */
  async #finish(
    at: URL,
    digest: Digest,
    bytes: { readonly size: number; readonly read: () => AsyncIterable<Uint8Array> } | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    // The URL stays letter by letter as it was given: registries sign theirs.
    const url = new URL(`${at.href}${at.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`);
    const length = { 'content-length': String(bytes?.size ?? 0) };
    const content = bytes === undefined ? {} : { body: bytes.read };
    const headers = bytes === undefined ? length : { ...length, 'content-type': OCTETS };
    const put = { method: 'PUT', path: url, headers, scopes: this.#scopes, silenceMs: COMMIT_SILENCE_MS } as const;
    const answer = await this.#endpoint.ask({ ...put, ...content }, signal);
    await this.#mustBe(answer, [201, 204], this.#name(digest), signal);
    this.#mustMatch(answer, digest, this.#name(digest));
  }

  /** The upload as an answer tells of it: `location` where it goes on, `range` what has arrived. */
  async #next(upload: Upload, answer: Answer, signal: AbortSignal): Promise<Upload> {
    const { location, range } = answer.headers;
    const at = location === undefined ? upload.at : await this.#endpoint.locationOf(answer, upload.at, signal);
    const last = /^(?:bytes=)?0-(\d+)$/.exec(String(range))?.[1];
    // `0-0` is what registries say of nothing.
    const offset = last === undefined ? upload.offset : last === '0' ? 0 : Number(last) + 1;
    return { ...upload, at, offset };
  }

  async #mustBe(answer: Answer, statuses: readonly number[], name: string, signal: AbortSignal): Promise<void> {
    if (!statuses.includes(answer.status)) throw await this.#endpoint.refusal(answer, name, signal);
    await answer.body.dump();
  }

  /** A registry that has got something else has not got it. */
  #mustMatch(answer: Answer, digest: Digest, name: string): void {
    const found = answer.headers['docker-content-digest'];
    if (found === undefined || found === digest) return;
    throw this.#endpoint.wrong(`has ${name} as ${String(found).slice(0, 100)} instead of ${digest}`);
  }

  #name(digest: Digest): string {
    return `blob ${digest} of ${this.#endpoint.place.repository}`;
  }
}

/** The bytes from `begin` to `end`, each piece told of. */
async function* counted({ read, onProgress }: Parcel, begin: number, end: number): AsyncGenerator<Uint8Array> {
  let at = begin;
  for await (const piece of read(begin)) {
    const part = piece.length > end - at ? piece.subarray(0, end - at) : piece;
    at += part.length;
    onProgress?.(at);
    yield part;
    if (at >= end) return;
  }
}
