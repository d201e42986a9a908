/**
 * A built image as files: its config, its manifest and its packed layers. Layers of a base image keep the blobs they came as; own ones
 * are packed from their folders, which gives the same bytes each time, so that what they came to is remembered by DiffID.
 *
 *   DIR/<hex of a DiffID>.json    digest and size of its packed layer
 */
import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest, Instant } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { digestOf } from '../../common/oci/digest.ts';
import {
  CONFIG_TYPE,
  type Descriptor,
  LAYER_GZIP_TYPE,
  LAYER_TAR_TYPE,
  MANIFEST_TYPE,
} from '../../common/oci/manifest.ts';
import { PLATFORM } from '../../common/oci/platform.ts';
import type { LayerFolders } from '../image/layer-folders.ts';
import { type LayerBlob, packLayer } from '../image/layer-writer.ts';
import type { MadeImage } from '../image/put.ts';
import type { BuiltImage } from './dockerfile/build-config.ts';
import { imageFileText } from './image-file.ts';

/** A layer of an image in the making. */
export interface BuiltLayer {
  readonly diffId: Digest;
  /** As it came with a base image; absent for an own one. */
  readonly blob?: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>;
}

export interface Making {
  readonly image: BuiltImage;
  /** Lowest first. */
  readonly layers: readonly BuiltLayer[];
  readonly at: Instant;
  readonly names: readonly string[];
}

export interface PackingPlace {
  readonly dir: string;
  readonly blobs: BlobStore;
  readonly folders: LayerFolders;
  /** Blobs that are not to be collected. */
  readonly hold: (blob: Digest) => void;
}

/** A tar of nothing: an image without any layer is refused by most who read images. */
const EMPTY_TAR = Buffer.alloc(1_024);
const EMPTY_LAYER: BuiltLayer = {
  diffId: digestOf(EMPTY_TAR),
  blob: { mediaType: LAYER_TAR_TYPE, digest: digestOf(EMPTY_TAR), size: EMPTY_TAR.length },
};

/** The image's bytes; packed layers that nobody asks for are not kept. */
export async function madeImage(place: PackingPlace, wanted: Making, signal: AbortSignal): Promise<MadeImage> {
  const making = wanted.layers.length === 0 ? withEmptyLayer(wanted) : wanted;
  const config = Buffer.from(
    imageFileText({
      ...making.image,
      os: PLATFORM.os,
      arch: PLATFORM.arch,
      at: making.at,
      diffIds: making.layers.map(({ diffId }) => diffId),
    }),
  );
  const sources = new Map<Digest, Digest>();
  const layers: LayerBlob[] = [];
  for (const { diffId, blob } of making.layers) {
    const packed = blob ?? (await packedOnce(place, diffId, signal));
    if (blob === undefined) sources.set(packed.digest, diffId);
    const { mediaType, digest, size } = packed;
    layers.push({ mediaType, digest, size });
  }
  const configBlob = { mediaType: CONFIG_TYPE, digest: digestOf(config), size: config.length };
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config: configBlob, layers }),
  );
  const read = (digest: Digest): AsyncIterable<Uint8Array> => {
    if (digest === configBlob.digest) return once(config);
    return digest === EMPTY_LAYER.diffId ? once(EMPTY_TAR) : blobOf(place, digest, sources.get(digest), signal);
  };
  return { manifest, names: making.names, read };
}

function withEmptyLayer(making: Making): Making {
  const { image, at } = making;
  const entry = { at, createdBy: 'FROM scratch', comment: 'covey build', author: image.author, emptyLayer: false };
  return { ...making, image: { ...image, history: [entry, ...image.history] }, layers: [EMPTY_LAYER] };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** A packed layer's bytes, made again when they are not here any more. */
async function* blobOf(
  place: PackingPlace,
  digest: Digest,
  diffId: Digest | undefined,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  place.hold(digest);
  if (diffId !== undefined && !(await place.blobs.has(digest)))
    await packLayer(place.blobs, { dir: place.folders.pathOf(diffId), diffId }, signal);
  yield* place.blobs.read(digest);
  await place.blobs.remove(digest);
}

async function packedOnce(place: PackingPlace, diffId: Digest, signal: AbortSignal): Promise<LayerBlob> {
  const path = join(place.dir, `${diffId.slice('sha256:'.length)}.json`);
  const known = await readFile(path, 'utf8').catch(() => undefined);
  if (known !== undefined) {
    const { digest, size } = JSON.parse(known) as LayerBlob;
    return { mediaType: LAYER_GZIP_TYPE, digest, size };
  }
  const packed = await packLayer(place.blobs, { dir: place.folders.pathOf(diffId), diffId }, signal);
  place.hold(packed.digest);
  const fresh = `${path}.${randomBytes(8).toString('hex')}`;
  await writeFile(fresh, JSON.stringify({ digest: packed.digest, size: packed.size }), { mode: 0o600 });
  await rename(fresh, path);
  return packed;
}
