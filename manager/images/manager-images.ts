/**
 * The images of the cluster at one manager: what Control's image verbs and the Images service do.
 *
 * Comes in: archives, names to pull or to remove, requests for blobs. Goes out: image objects in the store, blobs by digest. A blob is
 * on disk before the object that names it is committed; an archive is taken whole or not at all. It never resolves a
 * service's image (Control does).
 */
import { createReadStream } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import { BlobStore } from '../../common/oci/blob-store.ts';
import type { ConfigFile } from '../../common/oci/config.ts';
import { LAYER_LIMITS, type LayerLimits } from '../../common/oci/layer.ts';
import { JSON_BYTES_MAX, parseManifest } from '../../common/oci/manifest.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { put, remove, type Store, type Unit, type View } from '../store/store.ts';
import {
  ARCHIVE_LIMITS,
  type Archive,
  type ArchiveLimits,
  STAGING_PREFIX,
  type StagedFile,
  stageArchive,
} from './archive.ts';
import { type ArchiveImage, imagesOf } from './archive-images.ts';
import { type CheckedImage, checkLayers } from './layer-check.ts';
import { Mutex } from './mutex.ts';
import { type BlobProgress, ImagePuller, type Repository } from './pull.ts';
import { isUntagged, servicesUsing, untaggedKey } from './usage.ts';

const READ_BYTES = 512 * 1024;

export interface ManagerImagesOptions {
  /** Made if missing, mode 0700; this manager's alone. */
  readonly dir: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  /** The way to the registry of an image's name. */
  readonly openRepository: (name: string) => Promise<Repository & { close(): Promise<void> }>;
  readonly archiveLimits?: ArchiveLimits;
  readonly layerLimits?: LayerLimits;
}

export interface ImageDetails {
  readonly image: Image;
  /** Every NAME:TAG of it, in alphabetical order. */
  readonly references: readonly string[];
  /** JSON, the very bytes. */
  readonly manifest: string;
  readonly config: string;
}

export interface Pulled {
  readonly image: Image;
  /** False when the cluster had that very image under that name. */
  readonly isNew: boolean;
}

export class ManagerImages {
  readonly blobs: BlobStore;
  readonly #options: ManagerImagesOptions;
  /** Held from the first blob's arrival to its object's commit, and by `collect`, which would take it for garbage. */
  readonly #storing = new Mutex();
  /** What pulls under way bring, counted; `collect` leaves it alone. */
  readonly #pins = new Map<Digest, number>();
  readonly #puller: ImagePuller;

  private constructor(options: ManagerImagesOptions, blobs: BlobStore) {
    this.#options = options;
    this.blobs = blobs;
    this.#puller = new ImagePuller(blobs, options.clock);
  }

  /** Removes what interrupted uploads left. */
  static async open(options: ManagerImagesOptions): Promise<ManagerImages> {
    const blobs = await BlobStore.open(options.dir);
    for (const name of await readdir(blobs.incoming)) {
      if (name.startsWith(STAGING_PREFIX)) await rm(join(blobs.incoming, name), { recursive: true, force: true });
    }
    return new ManagerImages(options, blobs);
  }

  /**
   * Takes an archive: all its images or none. A reference that exists is given to the new image; the old one stays under its
   * digest while a service uses it.
   *
   * @returns the images as stored, in the archive's order
   * @throws ClusterError `invalid` naming the object that is wrong, `exhausted` for a full disk or store, `unavailable`
   */
  async load(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly Image[]> {
    const startedAt = this.#options.clock.now();
    const limits = this.#options.archiveLimits ?? ARCHIVE_LIMITS;
    const archive = await stageArchive(chunks, this.blobs.incoming, limits, signal);
    try {
      const found = await imagesOf(archive);
      await checkLayers(found.map(checkable), this.#options.layerLimits ?? LAYER_LIMITS, signal);
      const images = found.flatMap((each) => {
        const parts = [...each.blobs].map(([digest, { size }]) => ({ digest, size }));
        const whole = { digest: each.digest, manifestText: each.manifestText, config: each.config, parts };
        return each.references.map((reference) => imageOf(whole, reference, startedAt));
      });
      await this.#storing.run(async () => {
        await this.#adopt(found, archive);
        await this.#commit(images, signal);
      }, signal);
      const ms = this.#options.clock.now() - startedAt;
      this.#options.log.info({ images: images.map((image) => image.reference), ms }, 'images loaded');
      return images;
    } finally {
      await rm(archive.dir, { recursive: true, force: true });
    }
  }

  /**
   * Brings `NAME[:TAG][@DIGEST]` from its registry; with a digest it is that one's image, whatever the tag is there.
   *
   * @throws ClusterError `invalid` naming what is wrong, `not_found`, `denied`, `unavailable`, `exhausted`
   */
  async pull(text: string, onProgress: (progress: BlobProgress) => void, signal: AbortSignal): Promise<Pulled> {
    const { clock, store, log } = this.#options;
    const startedAt = clock.now();
    const { reference, name, tag, digest } = parseReference(text);
    const pins: Digest[] = [];
    const pin = (part: Digest): void => {
      pins.push(part);
      this.#pins.set(part, (this.#pins.get(part) ?? 0) + 1);
    };
    const repository = await this.#options.openRepository(name);
    try {
      const limits = this.#options.layerLimits ?? LAYER_LIMITS;
      const request = { repository, name: `image "${reference}"`, wanted: digest ?? tag, pin, limits, onProgress };
      const { found, manifest, config, parts } = await this.#puller.pull(request, signal);
      const whole = { digest: manifest.digest, manifestText: manifest.text, config, parts };
      const index = found === manifest.digest ? {} : { indexDigest: found };
      const image = { ...imageOf(whole, reference, startedAt), ...index };
      const old = store.view.get('image', reference)?.value;
      const isNew = old?.digest !== image.digest;
      if (isNew || old?.indexDigest !== image.indexDigest)
        await this.#storing.run(() => this.#commit([image], signal), signal);
      log.info({ image: reference, digest: image.digest, isNew, ms: clock.now() - startedAt }, 'image pulled');
      return { image, isNew };
    } finally {
      for (const part of pins) this.#unpin(part);
      await repository.close();
    }
  }

  /** Images with a name, by reference in alphabetical order. */
  list(): readonly Image[] {
    const images = [...this.#options.store.view.all('image')].map(({ value }) => value);
    return images.filter((image) => !isUntagged(image)).toSorted((a, b) => (a.reference < b.reference ? -1 : 1));
  }

  /** The image's own words. @throws ClusterError `not_found`; `unavailable` when its blobs are at other managers only */
  async describe(ref: string): Promise<ImageDetails> {
    const image = this.#find(ref);
    const references = this.list().filter(({ digest }) => digest === image.digest);
    const manifest = await this.#document(image, image.digest);
    const { config } = parseManifest(manifest, `manifest of image "${image.reference}"`);
    return {
      image,
      references: references.map(({ reference }) => reference),
      manifest,
      config: await this.#document(image, config.digest),
    };
  }

  /**
   * Gives an image one more name; another image that had it is treated as by `load`.
   *
   * @throws ClusterError `not_found` for the source, `invalid` for a target that is no NAME[:TAG]
   */
  async tag(source: string, target: string, signal: AbortSignal): Promise<Image> {
    const { reference, name, digest } = parseReference(target);
    if (digest !== undefined) {
      throw new ClusterError('invalid', `"${target}" names a digest`, { field: 'target', hint: 'give NAME[:TAG]' });
    }
    return await this.#storing.run(async () => {
      const { indexDigest, ...found } = this.#find(source);
      // A registry's digest is of its own repository.
      const isSame = name === parseReference(found.reference).name && indexDigest !== undefined;
      const image: Image = { ...found, reference, ...(isSame ? { indexDigest } : {}) };
      await this.#commit([image], signal);
      return image;
    }, signal);
  }

  /**
   * Removes the image of that name or unambiguous digest prefix (12 or more hex digits, with or without `sha256:`).
   *
   * @throws ClusterError `not_found`, `conflict` naming the services that use it, `invalid` when a prefix fits several
   */
  async remove(ref: string, signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const image = this.#find(ref);
    const services = servicesUsing(store.view, image.digest);
    const isOnlyName = this.list().every(
      (other) => other.digest !== image.digest || other.reference === image.reference,
    );
    if (services.length > 0 && isOnlyName) {
      throw new ClusterError('conflict', `image "${image.reference}" is used by service ${quoted(services)}`, {
        hint: 'update or remove the service first; a version it can roll back to counts too',
      });
    }
    const rev = store.view.get('image', image.reference)?.rev;
    await this.#write([[remove('image', image.reference, rev ?? 0)]], signal);
    await this.collect(signal);
  }

  /** Removes objects of untagged images that no service uses any more, and blobs that no image names. */
  async collect(signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    await this.#storing.run(async () => {
      const stale = [...store.view.all('image')].filter(
        ({ value }) => isUntagged(value) && servicesUsing(store.view, value.digest).length === 0,
      );
      for (const { value, rev } of stale) await this.#write([[remove('image', value.reference, rev)]], signal);
      const named = new Set([...store.view.all('image')].flatMap(({ value }) => value.blobs));
      for (const digest of [...(await this.blobs.list()), ...(await this.blobs.begun())]) {
        signal.throwIfAborted();
        if (!named.has(digest) && !this.#pins.has(digest)) await this.blobs.remove(digest);
      }
    }, signal);
  }

  #find(ref: string): Image {
    const prefix = /^(?:sha256:)?([0-9a-f]{12,64})$/.exec(ref)?.[1];
    const all = this.list();
    const byDigest = prefix === undefined ? [] : all.filter((image) => image.digest.startsWith(`sha256:${prefix}`));
    if (byDigest.length > 1) {
      throw new ClusterError(
        'invalid',
        `"${ref}" fits several images: ${quoted(byDigest.map((each) => each.reference))}`,
        {
          hint: 'give NAME:TAG',
        },
      );
    }
    const [found] = byDigest;
    if (found !== undefined) return found;
    return findImage(this.#options.store.view, ref);
  }

  async #document(image: Image, digest: Digest): Promise<string> {
    if (await this.blobs.has(digest)) return await this.blobs.text(digest, JSON_BYTES_MAX);
    throw new ClusterError('unavailable', `image "${image.reference}" has not been copied to this manager yet`, {
      hint: 'try again, or ask another manager',
    });
  }

  #unpin(digest: Digest): void {
    const count = this.#pins.get(digest) ?? 0;
    if (count > 1) this.#pins.set(digest, count - 1);
    else this.#pins.delete(digest);
  }

  async #adopt(found: readonly ArchiveImage[], archive: Archive): Promise<void> {
    for (const image of found) {
      for (const [digest, file] of image.blobs) {
        // A layer that several images of the archive share has been moved by the first.
        if (!(await this.blobs.has(digest))) await this.blobs.adopt(file.path, digest);
      }
      if (await this.blobs.has(image.digest)) continue;
      const path = join(archive.dir, 'manifest');
      await writeFile(path, image.manifestText, { mode: 0o600, flush: true });
      await this.blobs.adopt(path, image.digest);
    }
  }

  async #commit(images: readonly Image[], signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const unit: Unit = images.flatMap((image) => {
      const old = store.view.get('image', image.reference);
      const writes = [put('image', image.reference, image, old?.rev ?? 0)];
      if (old === undefined || old.value.digest === image.digest) return writes;
      if (servicesUsing(store.view, old.value.digest).length === 0) return writes;
      const key = untaggedKey(old.value);
      return [...writes, put('image', key, { ...old.value, reference: key })];
    });
    await this.#write([unit], signal);
  }

  async #write(units: readonly Unit[], signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    for (const result of await store.commit(units, signal)) {
      if (result.kind !== 'done') {
        throw new ClusterError('conflict', 'the image was changed at the same time', { hint: 'try again' });
      }
      await store.reached(result.revision, signal);
    }
  }
}

/**
 * The image of a reference, for everybody who resolves one.
 *
 * @throws ClusterError `invalid` for a malformed reference, `not_found` when the cluster has no such image or its digest is
 *   not the one asked for
 */
export function findImage(view: View, text: string): Image {
  const { reference, digest } = parseReference(text);
  const image = view.get('image', reference)?.value;
  const hint = `pull it first: covey image pull ${reference}; or load it: covey image load FILE`;
  if (image === undefined)
    throw new ClusterError('not_found', `image "${reference}" is not in the cluster`, { field: 'image', hint });
  if (digest === undefined || digest === image.digest || digest === image.indexDigest) return image;
  const untagged = view.get('image', `${parseReference(text).name}@${digest}`)?.value;
  if (untagged !== undefined) return untagged;
  throw new ClusterError('not_found', `image "${reference}" is in the cluster as ${image.digest}, not as ${digest}`, {
    field: 'image',
    hint,
  });
}

interface WholeImage {
  readonly digest: Digest;
  readonly manifestText: string;
  readonly config: ConfigFile;
  /** Config and layers. */
  readonly parts: readonly { readonly digest: Digest; readonly size: number }[];
}

function imageOf(found: WholeImage, reference: string, loadedAt: Instant): Image {
  const parts = new Map(found.parts.map(({ digest, size }) => [digest, size]));
  return {
    reference,
    digest: found.digest,
    size: [...parts.values()].reduce((sum, size) => sum + size, Buffer.byteLength(found.manifestText)),
    blobs: [found.digest, ...parts.keys()],
    loadedAt,
    os: found.config.os,
    arch: found.config.arch,
  };
}

function checkable({ references, manifest, config, blobs }: ArchiveImage): CheckedImage {
  const read = (layer: Digest): AsyncIterable<Uint8Array> =>
    createReadStream((blobs.get(layer) as StagedFile).path, { highWaterMark: READ_BYTES });
  return { name: `image "${references[0]}"`, manifest, config, read };
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}
