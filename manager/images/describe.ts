/** What an image says of itself. */
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { Labels } from '../../common/model/service.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { parseConfig } from '../../common/oci/config.ts';
import { JSON_BYTES_MAX, parseManifest } from '../../common/oci/manifest.ts';
import type { ImageRecords } from './image-records.ts';

export interface ImageDetails {
  readonly image: Image;
  /** Every NAME:TAG of it, in alphabetical order. */
  readonly references: readonly string[];
  /** JSON, the very bytes. */
  readonly manifest: string;
  readonly config: string;
}

/** The image's own words. @throws ClusterError `not_found`; `unavailable` when its blobs are at other managers only */
export async function describeImage(records: ImageRecords, blobs: BlobStore, ref: string): Promise<ImageDetails> {
  const image = records.find(ref);
  const references = records.list().filter(({ digest }) => digest === image.digest);
  const manifest = await documentOf(blobs, image, image.digest);
  const { config } = parseManifest(manifest, `manifest of image "${image.reference}"`);
  return {
    image,
    references: references.map(({ reference }) => reference),
    manifest,
    config: await documentOf(blobs, image, config.digest),
  };
}

/** The labels of its config. @throws ClusterError as describeImage */
export async function labelsOf(blobs: BlobStore, image: Image): Promise<Labels> {
  const name = `of image "${image.reference}"`;
  const { config } = parseManifest(await documentOf(blobs, image, image.digest), `manifest ${name}`);
  return parseConfig(await documentOf(blobs, image, config.digest), `config ${name}`).config.labels;
}

async function documentOf(blobs: BlobStore, image: Image, digest: Digest): Promise<string> {
  if (await blobs.has(digest)) return await blobs.text(digest, JSON_BYTES_MAX);
  throw new ClusterError('unavailable', `image "${image.reference}" has not been copied to this manager yet`, {
    hint: 'try again, or ask another manager',
  });
}
