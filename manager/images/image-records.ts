/** The image objects of the store: read by name or digest, written with the rules of a name that moves. */
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import type { ConfigFile } from '../../common/oci/config.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { put, type Store, type Unit, type View } from '../store/store.ts';
import { isUntagged, untaggedKey, usersOf } from './usage.ts';

export class ImageRecords {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Images with a name, by reference in alphabetical order. */
  list(): readonly Image[] {
    const images = [...this.#store.view.all('image')].map(({ value }) => value);
    return images.filter((image) => !isUntagged(image)).toSorted((a, b) => (a.reference < b.reference ? -1 : 1));
  }

  /** Those that lost their name to another and are kept for who uses them; any order. */
  untagged(): readonly Image[] {
    return [...this.#store.view.all('image')].map(({ value }) => value).filter(isUntagged);
  }

  /** As `find`, but a prefix of one digest stands for all its names. */
  fitting(ref: string): readonly Image[] {
    const found = this.#byPrefix(ref);
    const isOne = new Set(found.map(({ digest }) => digest)).size === 1;
    return isOne ? found : [this.find(ref)];
  }

  /** What `image save` means by it: a name without a tag stands for all its tags. @throws ClusterError as `find` */
  toSave(ref: string): readonly Image[] {
    const tags = this.list().filter(({ reference }) => reference.slice(0, reference.lastIndexOf(':')) === ref);
    return tags.length > 0 ? tags : this.fitting(ref);
  }

  /**
   * By name, or by an unambiguous prefix of the digest (12 or more hex digits, with or without `sha256:`).
   *
   * @throws ClusterError `not_found`, `invalid` when a prefix fits several
   */
  find(ref: string): Image {
    const byDigest = this.#byPrefix(ref);
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
    return findImage(this.#store.view, ref);
  }

  /**
   * Gives these images their names. Another image that had one stays under its digest while a service uses it.
   *
   * @throws ClusterError `conflict` when one of them was changed at the same time
   */
  async add(images: readonly Image[], signal: AbortSignal): Promise<void> {
    const { view } = this.#store;
    const unit: Unit = images.flatMap((image) => {
      const old = view.get('image', image.reference);
      const writes = [put('image', image.reference, image, old?.rev ?? 0)];
      if (old === undefined || old.value.digest === image.digest) return writes;
      if (usersOf(view, old.value.digest).length === 0) return writes;
      const key = untaggedKey(old.value);
      return [...writes, put('image', key, { ...old.value, reference: key })];
    });
    await this.write([unit], signal);
  }

  /** Resolves when the view shows it. @throws ClusterError `conflict` */
  async write(units: readonly Unit[], signal: AbortSignal): Promise<void> {
    for (const result of await this.#store.commit(units, signal)) {
      if (result.kind !== 'done') {
        throw new ClusterError('conflict', 'the image was changed at the same time', { hint: 'try again' });
      }
      await this.#store.reached(result.revision, signal);
    }
  }

  #byPrefix(ref: string): readonly Image[] {
    const hex = /^(?:sha256:)?([0-9a-f]{12,64})$/.exec(ref)?.[1];
    return hex === undefined ? [] : this.list().filter(({ digest }) => digest.startsWith(`sha256:${hex}`));
  }
}

/**
 * The image of a reference, for everybody who resolves one.
 *
 * @throws ClusterError `invalid` for a malformed reference, `not_found` when the cluster has no such image or its digest is
 *   not the one asked for
 */
export function findImage(view: View, text: string): Image {
  const { reference, name, digest } = parseReference(text);
  const image = view.get('image', reference)?.value;
  if (image !== undefined && (digest === undefined || digest === image.digest || digest === image.indexDigest)) {
    return image;
  }
  const untagged = digest === undefined ? undefined : view.get('image', `${name}@${digest}`)?.value;
  if (untagged !== undefined) return untagged;
  const hint = `pull it first: covey image pull ${reference}; or load it: covey image load FILE`;
  const why = image === undefined ? 'not in the cluster' : `in the cluster as ${image.digest}, not as ${digest}`;
  throw new ClusterError('not_found', `image "${reference}" is ${why}`, { field: 'image', hint });
}

/** An image all of whose blobs are here. */
export interface WholeImage {
  readonly digest: Digest;
  readonly manifestText: string;
  readonly config: ConfigFile;
  /** Config and layers. */
  readonly parts: readonly { readonly digest: Digest; readonly size: number }[];
}

/** Its object under a name. */
export function imageOf(found: WholeImage, reference: string, loadedAt: Instant): Image {
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

/** For messages. */
function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}
