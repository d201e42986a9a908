/** The images that builds start from and copy from: resolved by a manager, brought here, their layers held. */
import { ClusterError } from '../../common/errors.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { parseConfig } from '../../common/oci/config.ts';
import { JSON_BYTES_MAX, parseManifest } from '../../common/oci/manifest.ts';
import type { Images } from '../image/image.ts';
import type { LayerFolders } from '../image/layer-folders.ts';
import { type ImageServer, resolveImage } from '../image/put.ts';
import type { BuiltImage } from './dockerfile/build-config.ts';
import type { BuiltLayer } from './image.ts';
import { readBase } from './image-file.ts';

export interface BaseImage {
  readonly image: BuiltImage;
  /** Lowest first, as its config says. */
  readonly layers: readonly BuiltLayer[];
  /** When it was made. */
  readonly at: Instant;
}

export interface BaseImageTools {
  readonly images: Pick<Images, 'ensure'>;
  readonly blobs: BlobStore;
  readonly folders: LayerFolders;
  readonly servers: () => readonly ImageServer[];
}

/** An image that is collected while it is being taken is brought again, so often. */
const TRIES = 3;

/** Those of one build: each name is resolved once. */
export class BaseImages {
  readonly #tools: BaseImageTools;
  readonly #pull: boolean;
  readonly #found = new Map<string, Promise<BaseImage>>();

  /** @param pull  registries are asked even for what the cluster has */
  constructor(tools: BaseImageTools, pull: boolean) {
    this.#tools = tools;
    this.#pull = pull;
  }

  /** @throws ClusterError as resolveImage and Images.ensure */
  bring(name: string, hold: (layer: Digest) => void, signal: AbortSignal): Promise<BaseImage> {
    const found = this.#found.get(name) ?? this.#bring(name, hold, signal);
    this.#found.set(name, found);
    return found;
  }

  async #bring(name: string, hold: (layer: Digest) => void, signal: AbortSignal): Promise<BaseImage> {
    const { images, servers, folders } = this.#tools;
    const digest = await resolveImage(servers(), { name, pull: this.#pull }, signal);
    for (let tries = 0; tries < TRIES; tries += 1) {
      await images.ensure(name, digest, signal);
      const base = await this.#read(name, digest);
      for (const { diffId } of base.layers) hold(diffId);
      const are = await Promise.all(base.layers.map(({ diffId }) => folders.has(diffId)));
      if (are.every(Boolean)) return base;
    }
    throw new ClusterError('unavailable', `image "${name}" is removed again and again while it is built on`);
  }

  async #read(name: string, digest: Digest): Promise<BaseImage> {
    const { blobs } = this.#tools;
    const manifest = parseManifest(await blobs.text(digest, JSON_BYTES_MAX), `manifest of image "${name}"`);
    const text = await blobs.text(manifest.config.digest, JSON_BYTES_MAX);
    const { diffIds } = parseConfig(text, `config of image "${name}"`);
    const image = readBase(text, `config of image "${name}"`);
    const layers = diffIds.map((diffId, at) => {
      const blob = manifest.layers[at];
      return blob === undefined ? { diffId } : { diffId, blob };
    });
    return { image, layers, at: image.history.reduce((newest, entry) => Math.max(newest, entry.at), 0) };
  }
}
