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
import type { Image } from '../../common/model/cluster.ts';
import type { Digest } from '../../common/model/ids.ts';
import { BlobStore } from '../../common/oci/blob-store.ts';
import { diskError, isOwnTrouble } from '../../common/oci/disk.ts';
import { LAYER_LIMITS, type LayerLimits } from '../../common/oci/layer.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { remove, type Store } from '../store/store.ts';
import {
  ARCHIVE_LIMITS,
  type Archive,
  type ArchiveLimits,
  STAGING_PREFIX,
  type StagedFile,
  stageArchive,
} from './archive.ts';
import { type ArchiveImage, imagesOf } from './archive-images.ts';
import { describeImage, type ImageDetails, labelsOf } from './describe.ts';
import { ImageRecords, imageOf } from './image-records.ts';
import { type ImportWish, stageImport } from './import.ts';
import { type CheckedImage, checkLayers } from './layer-check.ts';
import { Mutex } from './mutex.ts';
import { Pins } from './pins.ts';
import { type BlobProgress, ImagePuller, type Repository } from './pull.ts';
import { type ImagePut, takeImage } from './put.ts';
import { fitsLabels, type PruneWish, prunable, removable } from './removal.ts';
import { tagImage } from './tag.ts';
import { isUntagged, usersOf } from './usage.ts';

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

export interface Pulled {
  readonly image: Image;
  /** False when the cluster had that very image under that name. */
  readonly isNew: boolean;
}

/** What a removal took away. */
export interface Removed {
  /** Names. */
  readonly untagged: readonly string[];
  /** Images that have no name left. */
  readonly deleted: readonly Digest[];
  /** Of the blobs that went here; other managers' follow when they next look. */
  readonly reclaimedBytes: number;
}

export class ManagerImages {
  readonly blobs: BlobStore;
  readonly records: ImageRecords;
  /** What `collect` leaves alone though no image may name it. */
  readonly pins = new Pins();
  readonly #options: ManagerImagesOptions;
  /** Held from the first blob's arrival to its object's commit, and by `collect`, which would take it for garbage. */
  readonly #storing = new Mutex();
  readonly #puller: ImagePuller;

  private constructor(options: ManagerImagesOptions, blobs: BlobStore) {
    this.#options = options;
    this.blobs = blobs;
    this.#puller = new ImagePuller(blobs, options.clock);
    this.records = new ImageRecords(options.store);
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
    const limits = this.#options.archiveLimits ?? ARCHIVE_LIMITS;
    return await this.#take(await stageArchive(chunks, this.blobs.incoming, limits, signal), signal);
  }

  /** A root file system's tar becomes an image of one layer. @throws ClusterError as `load` */
  async import(wish: ImportWish, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Image> {
    const { archiveLimits: limits = ARCHIVE_LIMITS, clock } = this.#options;
    const place = { parent: this.blobs.incoming, limits, now: clock.now() };
    const [image] = await this.#take(await stageImport(wish, chunks, place, signal), signal);
    return image as Image;
  }

  /** Judges what was laid down and keeps it; removes the folder. */
  async #take(archive: Archive, signal: AbortSignal): Promise<readonly Image[]> {
    const startedAt = this.#options.clock.now();
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
        await this.records.add(images, signal);
      }, signal);
      const ms = this.#options.clock.now() - startedAt;
      this.#options.log.info({ images: images.map((image) => image.reference), ms }, 'images loaded');
      return images;
    } catch (cause) {
      return await this.#giveUp(cause, signal);
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
    const { pin, release } = this.pins.hand();
    const repository = await this.#options.openRepository(name);
    try {
      const about = { repository, name: `image "${reference}"`, wanted: digest ?? tag };
      const request = { ...about, pin, onProgress };
      const { found, manifest, config, parts } = await this.#puller.pull(request, signal);
      const whole = { digest: manifest.digest, manifestText: manifest.text, config, parts };
      const index = found === manifest.digest ? {} : { indexDigest: found };
      const image: Image = { ...imageOf(whole, reference, startedAt), ...index, isInRegistry: true };
      const old = store.view.get('image', reference)?.value;
      const isNew = old?.digest !== image.digest;
      if (isNew || old?.indexDigest !== image.indexDigest || old?.isInRegistry !== true)
        await this.#storing.run(() => this.records.add([image], signal), signal);
      log.info({ image: reference, digest: image.digest, isNew, ms: clock.now() - startedAt }, 'image pulled');
      return { image, isNew };
    } catch (cause) {
      release();
      return await this.#giveUp(cause, signal);
    } finally {
      release();
      await repository.close();
    }
  }

  /**
   * Takes an image that a host has made, blob by blob; whole or not at all. Its names are given as by `load`.
   *
   * @throws ClusterError `invalid` naming what is wrong, `exhausted`
   */
  async put(put: ImagePut, signal: AbortSignal): Promise<Image> {
    const { clock, log } = this.#options;
    const startedAt = clock.now();
    const { pin, release } = this.pins.hand();
    try {
      const limits = this.#options.layerLimits ?? LAYER_LIMITS;
      const whole = await takeImage({ ...put, pin, limits, blobs: this.blobs, filler: this.#puller }, signal);
      const images = put.references.map((reference) => imageOf(whole, reference, startedAt));
      await this.#storing.run(() => this.records.add(images, signal), signal);
      log.info({ images: put.references, digest: whole.digest, ms: clock.now() - startedAt }, 'image put');
      return images[0] as Image;
    } catch (cause) {
      release();
      return await this.#giveUp(cause, signal);
    } finally {
      release();
    }
  }

  /** Images with a name, by reference in alphabetical order. */
  list(): readonly Image[] {
    return this.records.list();
  }

  /** As ImageRecords.untagged. */
  untagged(): readonly Image[] {
    return this.records.untagged();
  }

  /** As ImageRecords.toSave. */
  toSave(ref: string): readonly Image[] {
    return this.records.toSave(ref);
  }

  /** As describeImage. */
  describe(ref: string): Promise<ImageDetails> {
    return describeImage(this.records, this.blobs, ref);
  }

  /**
   * Gives an image one more name; another image that had it is treated as by `load`.
   *
   * @throws ClusterError `not_found` for the source, `invalid` for a target that is no NAME[:TAG]
   */
  async tag(source: string, target: string, signal: AbortSignal): Promise<Image> {
    return await this.#storing.run(() => tagImage(this.records, source, target, signal), signal);
  }

  /**
   * Removes the image of that name or unambiguous digest prefix (12 or more hex digits, with or without `sha256:`); with
   * `force` a digest's every name.
   *
   * @throws ClusterError `not_found`, `conflict` naming who uses it, `invalid` when a prefix fits several digests
   */
  async remove(ref: string, { force }: { readonly force: boolean }, signal: AbortSignal): Promise<Removed> {
    return await this.#drop(removable(this.#options.store.view, this.records.fitting(ref), force), signal);
  }

  /** Removes what nobody uses and the wish covers. @throws ClusterError `unavailable` when labels are at other managers only */
  async prune(wish: PruneWish, signal: AbortSignal): Promise<Removed> {
    const chosen: Image[] = [];
    for (const image of prunable(this.#options.store.view, wish)) {
      const isAsked = wish.labels.length + wish.labelsNot.length > 0;
      if (!isAsked || fitsLabels(await labelsOf(this.blobs, image), wish)) chosen.push(image);
    }
    return wish.plan ? await this.#foresee(chosen) : await this.#drop(chosen, signal);
  }

  /** Removes objects of untagged images that nobody uses any more, and blobs that no image names. Gives the bytes that went. */
  async collect(signal: AbortSignal): Promise<number> {
    const { store } = this.#options;
    return await this.#storing.run(async () => {
      const stale = [...store.view.all('image')].filter(
        ({ value }) => isUntagged(value) && usersOf(store.view, value.digest).length === 0,
      );
      for (const { value, rev } of stale) await this.records.write([[remove('image', value.reference, rev)]], signal);
      return await this.#removeUnnamed(signal);
    }, signal);
  }

  /** Gives the bytes that went. To be called while `#storing` is held. */
  async #removeUnnamed(signal: AbortSignal): Promise<number> {
    const { store } = this.#options;
    let named = new Set<Digest>();
    let revision: number | undefined;
    let bytes = 0;
    for (const digest of [...(await this.blobs.list()), ...(await this.blobs.begun())]) {
      signal.throwIfAborted();
      const size = (await this.blobs.sizeOf(digest)) ?? 0;
      // From here to the removal there is one turn of the loop: nobody can begin to need it in between, here or at another manager.
      if (store.view.revision !== revision) {
        revision = store.view.revision;
        named = new Set([...store.view.all('image')].flatMap(({ value }) => value.blobs));
      }
      if (named.has(digest) || this.pins.has(digest)) continue;
      bytes += size;
      await this.blobs.remove(digest);
    }
    return bytes;
  }

  /** What has arrived of an image that will not come is there to go on from, but a full disk needs the room. */
  async #giveUp(cause: unknown, signal: AbortSignal): Promise<never> {
    if (isOwnTrouble(cause)) {
      await this.#puller.settled();
      await this.#storing.run(() => this.#removeUnnamed(signal), signal);
    }
    throw cause;
  }

  /** What `#drop` would answer. */
  async #foresee(images: readonly Image[]): Promise<Removed> {
    const names = new Set(images.map(({ reference }) => reference));
    const rest = [...this.#options.store.view.all('image')].flatMap(({ value }) =>
      names.has(value.reference) ? [] : [value],
    );
    const kept = new Set(rest.flatMap(({ digest, blobs }) => [digest, ...blobs]));
    const doomed = new Set(images.flatMap(({ blobs }) => blobs).filter((digest) => !kept.has(digest)));
    let reclaimedBytes = 0;
    for (const digest of doomed) reclaimedBytes += (await this.blobs.sizeOf(digest)) ?? 0;
    const deleted = new Set(images.map(({ digest }) => digest).filter((digest) => !kept.has(digest)));
    return { untagged: [...names], deleted: [...deleted], reclaimedBytes };
  }

  async #drop(images: readonly Image[], signal: AbortSignal): Promise<Removed> {
    const { store } = this.#options;
    for (const { reference } of images) {
      const rev = store.view.get('image', reference)?.rev;
      await this.records.write([[remove('image', reference, rev ?? 0)]], signal);
    }
    const reclaimedBytes = await this.collect(signal);
    const left = new Set([...store.view.all('image')].map(({ value }) => value.digest));
    const gone = new Set(images.map(({ digest }) => digest).filter((digest) => !left.has(digest)));
    return { untagged: images.map(({ reference }) => reference), deleted: [...gone], reclaimedBytes };
  }

  async #adopt(found: readonly ArchiveImage[], archive: Archive): Promise<void> {
    for (const image of found) {
      for (const [digest, file] of image.blobs) {
        // A layer that several images of the archive share has been moved by the first.
        if (!(await this.blobs.has(digest))) await this.blobs.adopt(file.path, digest);
      }
      if (await this.blobs.has(image.digest)) continue;
      const path = join(archive.dir, 'manifest');
      try {
        await writeFile(path, image.manifestText, { mode: 0o600, flush: true });
      } catch (cause) {
        throw diskError(`manifest of image "${image.references[0]}"`, cause);
      }
      await this.blobs.adopt(path, image.digest);
    }
  }
}

function checkable({ references, manifest, config, blobs }: ArchiveImage): CheckedImage {
  const read = (layer: Digest): AsyncIterable<Uint8Array> =>
    createReadStream((blobs.get(layer) as StagedFile).path, { highWaterMark: READ_BYTES });
  return { name: `image "${references[0]}"`, manifest, config, read };
}
