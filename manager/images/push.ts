/**
 * Brings an image of the cluster to its registry. Comes in: a name. Goes out: the registry has every blob and, at last, the manifest,
 * byte for byte. Blobs that this manager lacks are fetched from another one first. Nothing of the image changes here but that it is
 * known to be in its registry.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { ImageJson } from '../../common/oci/json.ts';
import { type Descriptor, JSON_BYTES_MAX, MANIFEST_TYPE, parseManifest } from '../../common/oci/manifest.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { placeOf } from '../../common/registry/place.ts';
import type { Delivery, Uploads } from '../../common/registry/uploads.ts';
import { several } from '../../common/several.ts';
import type { ImageRecords } from './image-records.ts';
import type { Pins } from './pins.ts';

/** What a registry is written by. */
export type Shelf = Pick<Uploads, 'deliver' | 'putManifest' | 'close'>;

/** How a blob goes along. */
export interface PushedBlob {
  readonly digest: Digest;
  readonly size: number;
  /** Bytes; goes back when a part has to be sent again. */
  readonly sent: number;
  /** Absent while it is under way. */
  readonly outcome?: Delivery;
  /** The repository that it was mounted from. */
  readonly from?: string;
}

export interface Pushed {
  readonly image: Image;
  /** Bytes of the manifest. */
  readonly size: number;
}

export interface ImagePusherOptions {
  readonly records: ImageRecords;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  /** Brings a blob here that this manager lacks. */
  readonly bring: (digest: Digest, signal: AbortSignal) => Promise<void>;
  readonly openUploads: (name: string, mountFrom: readonly string[]) => Promise<Shelf>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** As many as Docker's. */
const UPLOADS_MAX = 5;
const PROGRESS_BYTES = 1024 * 1024;

export class ImagePusher {
  readonly #options: ImagePusherOptions;

  constructor(options: ImagePusherOptions) {
    this.#options = options;
  }

  /**
   * Pushes `NAME[:TAG]`.
   *
   * @throws ClusterError `not_found` when the cluster has no such image, `invalid` for a name with a digest, and those of the registry
   */
  async push(text: string, onProgress: (progress: PushedBlob) => void, signal: AbortSignal): Promise<Pushed> {
    const { records, clock, log, openUploads, pins } = this.#options;
    const startedAt = clock.now();
    const { reference, name, tag, digest } = parseReference(text);
    if (digest !== undefined)
      throw new ClusterError('invalid', `"${text}" names a digest`, { field: 'image', hint: 'give NAME[:TAG]' });
    const image = records.list().find((each) => each.reference === reference);
    if (image === undefined) {
      throw new ClusterError('not_found', `image "${reference}" is not in the cluster`, {
        field: 'image',
        hint: `covey image ls shows those that are; covey image tag gives one this name`,
      });
    }
    const { pin, release } = pins.hand();
    for (const blob of image.blobs) pin(blob);
    const origins = this.#originsOf(image);
    const uploads = await openUploads(name, [...new Set(origins.values())]);
    try {
      const manifest = await this.#document(image.digest, signal);
      const { config, layers } = parseManifest(manifest, `manifest of image "${reference}"`);
      const blobs = [...new Map([...layers, config].map((blob) => [blob.digest, blob])).values()];
      const deliver = (blob: Descriptor, stop: AbortSignal): Promise<void> =>
        this.#deliver(uploads, blob, origins.get(blob.digest), onProgress, stop);
      await several(blobs, UPLOADS_MAX, deliver, signal);
      const mediaType = ImageJson.parse(manifest, `manifest of image "${reference}"`).text('mediaType', MANIFEST_TYPE);
      const bytes = Buffer.from(manifest);
      await uploads.putManifest(tag, { digest: image.digest, mediaType, bytes }, signal);
      await this.#remember(image, signal);
      log.info({ image: reference, digest: image.digest, ms: clock.now() - startedAt }, 'image pushed');
      return { image, size: bytes.length };
    } finally {
      release();
      await uploads.close();
    }
  }

  /** For each blob a repository of the same registry that has it as part of another image. */
  #originsOf(image: Image): ReadonlyMap<Digest, string> {
    const { registry, repository } = placeOf(parseReference(image.reference).name);
    const origins = new Map<Digest, string>();
    for (const other of this.#options.records.list()) {
      const place = placeOf(parseReference(other.reference).name);
      if (other.isInRegistry !== true || place.registry !== registry || place.repository === repository) continue;
      for (const blob of other.blobs) if (image.blobs.includes(blob)) origins.set(blob, place.repository);
    }
    return origins;
  }

  async #deliver(
    uploads: Shelf,
    { digest, size }: Descriptor,
    origin: string | undefined,
    onProgress: (progress: PushedBlob) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { blobs } = this.#options;
    await this.#bring(digest, signal);
    let told = 0;
    const tell = (sent: number): void => {
      if (Math.abs(sent - told) < PROGRESS_BYTES) return;
      told = sent;
      onProgress({ digest, size, sent });
    };
    const read = (offset: number): AsyncIterable<Uint8Array> => blobs.read(digest, offset);
    const mount = origin === undefined ? {} : { mountFrom: origin };
    const outcome = await uploads.deliver({ digest, size, read, onProgress: tell, ...mount }, signal);
    onProgress({ digest, size, sent: size, outcome, ...(outcome === 'mounted' ? { from: origin ?? '' } : {}) });
  }

  async #document(digest: Digest, signal: AbortSignal): Promise<string> {
    await this.#bring(digest, signal);
    return await this.#options.blobs.text(digest, JSON_BYTES_MAX);
  }

  async #bring(digest: Digest, signal: AbortSignal): Promise<void> {
    const { blobs, bring } = this.#options;
    if (!(await blobs.has(digest))) await bring(digest, signal);
  }

  /** From now on it is looked for there. Another image may have got the name meanwhile: then it is not ours to say. */
  async #remember(image: Image, signal: AbortSignal): Promise<void> {
    const { records } = this.#options;
    const now = records.list().find(({ reference }) => reference === image.reference);
    if (now?.digest === image.digest && now.isInRegistry !== true)
      await records.add([{ ...now, isInRegistry: true }], signal);
  }
}
