/**
 * Brings an image from its registry into a blob store. Comes in: a repository and what to ask it for. Goes out: an image all of
 * whose blobs are here, proved by their digests. Layers are looked into where they are unpacked. It names nothing: the caller commits the image.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { type ConfigFile, parseConfig } from '../../common/oci/config.ts';
import { isOwnTrouble } from '../../common/oci/disk.ts';
import {
  choosePlatform,
  type Descriptor,
  isIndexType,
  JSON_BYTES_MAX,
  type Manifest,
  parseIndex,
  parseManifest,
} from '../../common/oci/manifest.ts';
import { fits, wrongPlatform } from '../../common/oci/platform.ts';
import { BACKOFF, isWorthwhile, TRIES } from '../../common/registry/endpoint.ts';
import { isAway } from '../../common/registry/http.ts';
import type { Document, Registry } from '../../common/registry/registry.ts';
import { retry } from '../../common/retry.ts';
import { several } from '../../common/several.ts';
import { SingleFlight } from '../../common/single-flight.ts';

/** What a registry is read by. */
export interface Repository extends Pick<Registry, 'manifest'> {
  blob(digest: Digest, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Told of a failure: true when another one is asked for that blob from now on. Absent: there is none. */
  passOver?(digest: Digest, cause: unknown): boolean;
}

export interface PulledImage {
  /** What the registry gave for the name: the manifest, or the index that it was chosen from. */
  readonly found: Digest;
  readonly manifest: Document;
  readonly config: ConfigFile;
  /** Config and layers. */
  readonly parts: readonly Descriptor[];
}

/** How a blob comes along. */
export interface BlobProgress {
  readonly digest: Digest;
  readonly received: number;
  readonly size: number;
  /** It was here before. */
  readonly existed: boolean;
}

export interface PullRequest {
  readonly repository: Repository;
  /** What errors call the image. */
  readonly name: string;
  /** A tag or digest. */
  readonly wanted: string;
  /** Told of each blob before it is asked for: nobody may take it for garbage. */
  readonly pin: (digest: Digest) => void;
  readonly onProgress: (progress: BlobProgress) => void;
}

/** As many as Docker's. */
const DOWNLOADS_MAX = 3;
const INDEX_DEPTH_MAX = 3;
const PROGRESS_BYTES = 1024 * 1024;

export class ImagePuller {
  readonly #blobs: BlobStore;
  readonly #clock: Clock;
  readonly #filling = new SingleFlight<Digest, void>();

  constructor(blobs: BlobStore, clock: Clock) {
    this.#blobs = blobs;
    this.#clock = clock;
  }

  /**
   * Everything of the image for our platform. What arrived before a failure stays, to go on from.
   *
   * @throws ClusterError of the registry; `invalid` for an image that is broken or for others, `exhausted` for a full disk
   */
  async pull(request: PullRequest, signal: AbortSignal): Promise<PulledImage> {
    const { name, pin } = request;
    const top = await request.repository.manifest(request.wanted, signal);
    const chosen = await this.#choose(request, top, signal);
    const manifest = parseManifest(chosen.text, `manifest ${chosen.digest} of ${name}`);
    for (const digest of [chosen.digest, manifest.config.digest]) pin(digest);
    await this.#fetch(request, manifest.config, signal);
    const config = parseConfig(
      await this.#blobs.text(manifest.config.digest, JSON_BYTES_MAX),
      `config ${manifest.config.digest} of ${name}`,
    );
    mustFit(name, manifest, config);
    for (const layer of manifest.layers) pin(layer.digest);
    await this.#fetchAll(request, manifest, signal);
    const text = Buffer.from(chosen.text);
    await this.fill({ digest: chosen.digest, size: text.length }, (offset) => once(text.subarray(offset)), signal);
    return { found: top.digest, manifest: chosen, config, parts: [manifest.config, ...manifest.layers] };
  }

  /** Our platform's manifest, through any indexes. */
  async #choose({ repository, name }: PullRequest, top: Document, signal: AbortSignal): Promise<Document> {
    let found = top;
    for (let depth = 0; isIndexType(found.mediaType); depth += 1) {
      if (depth === INDEX_DEPTH_MAX)
        throw new ClusterError('invalid', `${name} nests indexes deeper than ${INDEX_DEPTH_MAX}`);
      const { digest } = choosePlatform(parseIndex(found.text, `index ${found.digest} of ${name}`), name);
      found = await repository.manifest(digest, signal);
    }
    return found;
  }

  async #fetchAll(request: PullRequest, { layers }: Manifest, signal: AbortSignal): Promise<void> {
    const each = [...new Map(layers.map((layer) => [layer.digest, layer])).values()];
    await several(each, DOWNLOADS_MAX, (layer, stop) => this.#fetch(request, layer, stop), signal);
  }

  async #fetch(request: PullRequest, blob: Descriptor, signal: AbortSignal): Promise<void> {
    const { digest, size } = blob;
    const existed = await this.#blobs.has(digest);
    if (!existed) await this.#download(request, blob, signal);
    request.onProgress({ digest, size, received: size, existed });
  }

  /** As long as something comes, it is asked for the rest. */
  async #download({ repository, onProgress }: PullRequest, blob: Descriptor, signal: AbortSignal): Promise<void> {
    const { digest, size } = blob;
    let received = 0;
    let tries = TRIES;
    let moves = false;
    let began = 0;
    let mayBeginAnew = true;
    const source = async function* (offset: number, stop: AbortSignal): AsyncGenerator<Uint8Array> {
      let told = offset;
      began = offset;
      received = offset;
      for await (const piece of repository.blob(digest, offset, stop)) {
        tries = TRIES;
        moves = true;
        received += piece.length;
        yield piece;
        if (received - told < PROGRESS_BYTES) continue;
        told = received;
        onProgress({ digest, size, received, existed: false });
      }
    };
    const again = (cause: unknown): boolean => {
      if (isOwnTrouble(cause)) return false;
      // It was there for the manifest: perhaps it only starts anew.
      const heals = isWorthwhile(cause) || isAway(cause);
      const moved = moves;
      moves = false;
      if (moved && heals) return true;
      // What was gone on with may have been wrong from its beginning, which somebody else gave.
      if (began > 0 && mayBeginAnew && toClusterError(cause).code === 'invalid') {
        mayBeginAnew = false;
        return true;
      }
      if (repository.passOver?.(digest, cause) !== true) return heals && --tries > 0;
      mayBeginAnew = true;
      return true;
    };
    const patience = { clock: this.#clock, signal, ...BACKOFF, isWorthwhile: again };
    await retry(() => this.fill({ digest, size }, source, signal), patience);
  }

  /** Resolves when nothing that was given up is still being written. */
  settled(): Promise<void> {
    return this.#filling.settled();
  }

  /** As BlobStore.fill; calls for one blob share the work of the first. */
  fill(
    blob: { readonly digest: Digest; readonly size: number },
    source: (offset: number, signal: AbortSignal) => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    return this.#filling.run(blob.digest, (shared) => this.#blobs.fill(blob, source, shared), signal);
  }
}

function mustFit(name: string, manifest: Manifest, config: ConfigFile): void {
  if (!fits(config)) throw wrongPlatform(name, [config]);
  if (config.diffIds.length === manifest.layers.length) return;
  const why = `its manifest has ${manifest.layers.length} layers, its config ${config.diffIds.length} DiffIDs`;
  throw new ClusterError('invalid', `${name} is malformed: ${why}`, { hint: 'build and push it again' });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
