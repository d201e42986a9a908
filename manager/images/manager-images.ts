/**
 * The images of the cluster at one manager: what Control's image verbs and the Images service do.
 *
 * Comes in: archives, names to remove, requests for blobs. Goes out: image objects in the store, blobs by digest. A blob is
 * on disk before the object that names it is committed; an archive is taken whole or not at all. It never resolves a
 * service's image (Control does) and never pulls from registries.
 */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import { BlobStore } from '../../common/oci/blob-store.ts';
import { LAYER_LIMITS, type LayerLimits } from '../../common/oci/layer.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { put, remove, type Store, type Unit, type View } from '../store/store.ts';
import { ARCHIVE_LIMITS, type Archive, type ArchiveLimits, STAGING_PREFIX, stageArchive } from './archive.ts';
import { type ArchiveImage, imagesOf } from './archive-images.ts';
import { checkLayers } from './layer-check.ts';
import { Mutex } from './mutex.ts';
import { isUntagged, servicesUsing, untaggedKey } from './usage.ts';

export interface ManagerImagesOptions {
  /** Made if missing, mode 0700; this manager's alone. */
  readonly dir: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly archiveLimits?: ArchiveLimits;
  readonly layerLimits?: LayerLimits;
}

export class ManagerImages {
  readonly blobs: BlobStore;
  readonly #options: ManagerImagesOptions;
  /** Held from the first blob's arrival to its object's commit, and by `collect`, which would take it for garbage. */
  readonly #storing = new Mutex();

  private constructor(options: ManagerImagesOptions, blobs: BlobStore) {
    this.#options = options;
    this.blobs = blobs;
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
      await checkLayers(found, this.#options.layerLimits ?? LAYER_LIMITS, signal);
      const images = found.flatMap((each) => each.references.map((reference) => imageOf(each, reference, startedAt)));
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

  /** Images with a name, by reference in alphabetical order. */
  list(): readonly Image[] {
    const images = [...this.#options.store.view.all('image')].map(({ value }) => value);
    return images.filter((image) => !isUntagged(image)).toSorted((a, b) => (a.reference < b.reference ? -1 : 1));
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
        if (!named.has(digest)) await this.blobs.remove(digest);
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
  const hint = 'load it first: covey image load FILE';
  if (image === undefined)
    throw new ClusterError('not_found', `image "${reference}" is not in the cluster`, { field: 'image', hint });
  if (digest === undefined || digest === image.digest) return image;
  const untagged = view.get('image', `${parseReference(text).name}@${digest}`)?.value;
  if (untagged !== undefined) return untagged;
  throw new ClusterError('not_found', `image "${reference}" is in the cluster as ${image.digest}, not as ${digest}`, {
    field: 'image',
    hint,
  });
}

function imageOf(found: ArchiveImage, reference: string, loadedAt: Instant): Image {
  const blobs: readonly Digest[] = [found.digest, ...found.blobs.keys()];
  const sizes = [...found.blobs.values()].map((file) => file.size);
  return {
    reference,
    digest: found.digest,
    size: sizes.reduce((sum, size) => sum + size, Buffer.byteLength(found.manifestText)),
    blobs,
    loadedAt,
    os: found.config.os,
    arch: found.config.arch,
  };
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}
