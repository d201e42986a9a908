/**
 * A repository that has mirrors. Comes in: the mirrors' repositories in their order, then the registry's own. Goes out: what the
 * first of them has that is sound. A mirror that fails is passed over with a word in the log; only the registry's failure is an error.
 */
import type { Logger } from 'pino';
import { ClusterError, messageOf, toClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import { HUB, type RegistryPlace, serverPlace } from '../../common/registry/place.ts';
import type { Document, Registry } from '../../common/registry/registry.ts';

/** Where a mirror is: its host, and how it is spoken to. */
export type Mirror = Required<Pick<RegistryPlace, 'host' | 'scheme'>>;

/** Mirrors by registry, in the order in which they are asked. */
export type Mirrors = ReadonlyMap<string, readonly Mirror[]>;

/**
 * Reads `URL` (a mirror of Docker Hub, as Docker's `registry-mirrors`) and `HOST[:PORT]=URL`. Without a scheme it is https.
 *
 * @throws ClusterError `invalid` with the field `registry-mirror`
 */
export function parseMirrors(texts: readonly string[]): Mirrors {
  const mirrors = new Map<string, readonly Mirror[]>();
  for (const text of texts) {
    const [, server = '', rest = ''] = /^(?:([^=/]+)=)?(.*)$/s.exec(text) ?? [];
    const registry = server === '' ? HUB : serverPlace(server)?.registry;
    const address = rest.includes('://') ? rest : `https://${rest}`;
    const url = URL.canParse(address) ? new URL(address) : undefined;
    const scheme = url?.protocol === 'http:' ? 'http' : url?.protocol === 'https:' ? 'https' : undefined;
    const isBare = url !== undefined && url.pathname === '/' && url.search === '' && url.hash === '';
    if (registry === undefined || scheme === undefined || !isBare || url.username !== '' || url.password !== '') {
      throw new ClusterError('invalid', `"${text.replace(/\/\/.*@/, '//')}" is no mirror`, {
        field: 'registry-mirror',
        hint: 'write URL or HOST[:PORT]=URL, without a path or a login, such as https://mirror.example.org',
      });
    }
    mirrors.set(registry, [...(mirrors.get(registry) ?? []), { host: url.host, scheme }]);
  }
  return mirrors;
}

/** One of those that are asked. */
export interface Source {
  /** `HOST[:PORT]`, for the log. */
  readonly host: string;
  readonly registry: Pick<Registry, 'manifest' | 'blob' | 'close'>;
}

export class MirroredRepository {
  readonly #sources: readonly Source[];
  readonly #log: Logger;
  /** The first that is still asked; those before it were away or did not know the image. */
  #first = 0;
  /** The same for single blobs that it lacks, or has wrong. */
  readonly #firstFor = new Map<Digest, number>();

  /** @param sources  at least the registry itself, which is last */
  constructor(sources: readonly Source[], log: Logger) {
    this.#sources = sources;
    this.#log = log;
  }

  async manifest(reference: string, signal: AbortSignal): Promise<Document> {
    for (;;) {
      const { host, registry } = this.#at(this.#first);
      try {
        return await registry.manifest(reference, signal);
      } catch (cause) {
        signal.throwIfAborted();
        if (this.#first === this.#sources.length - 1) throw cause;
        this.#log.warn({ mirror: host, reference, why: messageOf(cause) }, 'mirror passed over');
        this.#first += 1;
      }
    }
  }

  blob(digest: Digest, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#at(this.#indexFor(digest)).registry.blob(digest, offset, signal);
  }

  /**
   * Told that what came of a blob is no good, or that nothing came: from now on the next is asked for it.
   *
   * @returns false when it was the registry itself
   */
  passOver(digest: Digest, cause: unknown): boolean {
    const index = this.#indexFor(digest);
    if (index === this.#sources.length - 1) return false;
    this.#log.warn({ mirror: this.#at(index).host, blob: digest, why: messageOf(cause) }, 'mirror passed over');
    this.#firstFor.set(digest, index + 1);
    // One that is away will be so for the other blobs.
    if (toClusterError(cause).code === 'unavailable') this.#first = Math.max(this.#first, index + 1);
    return true;
  }

  async close(): Promise<void> {
    for (const { registry } of this.#sources) await registry.close();
  }

  #indexFor(digest: Digest): number {
    return Math.max(this.#first, this.#firstFor.get(digest) ?? 0);
  }

  #at(index: number): Source {
    return this.#sources[index] as Source;
  }
}
