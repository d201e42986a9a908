/** Manifests and indexes of images: OCI's and Docker's schema 2, which differ in names only. */
import { ClusterError } from '../errors.ts';
import type { Digest } from '../model/ids.ts';
import { LAYERS_MAX } from './config.ts';
import { ImageJson } from './json.ts';
import { type Machine, type Platform, rankOf, wrongPlatform } from './platform.ts';

/** Points to a blob. Source: OCI image-spec, descriptor.md. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
  /** Of an index's entries; absent = not said. */
  readonly platform?: Platform;
}

export interface Manifest {
  readonly config: Descriptor;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
}

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
export const LAYER_TAR_TYPE = 'application/vnd.oci.image.layer.v1.tar';
export const LAYER_GZIP_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
export const LAYER_ZSTD_TYPE = 'application/vnd.oci.image.layer.v1.tar+zstd';
const INDEX_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const MANIFEST_TYPES = [MANIFEST_TYPE, 'application/vnd.docker.distribution.manifest.v2+json'];
/** Whatever a reference may name. */
export const DOCUMENT_TYPES: readonly string[] = [...INDEX_TYPES, ...MANIFEST_TYPES];
const CONFIG_TYPES = [CONFIG_TYPE, 'application/vnd.docker.container.image.v1+json'];
const LAYER_TYPES = [
  LAYER_TAR_TYPE,
  LAYER_GZIP_TYPE,
  LAYER_ZSTD_TYPE,
  'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
];

/** A manifest, index or config larger than this is no such thing. Source: distribution-spec, "4 MiB or more" for manifests. */
export const JSON_BYTES_MAX = 4 * 1024 * 1024;
/** A layer larger than this is refused before a byte of it is read. */
export const BLOB_BYTES_MAX = 64 * 2 ** 30;
const INDEX_ENTRIES_MAX = 1_000;

export function isIndexType(mediaType: string): boolean {
  return INDEX_TYPES.includes(mediaType);
}

/**
 * Reads an index.
 *
 * @param name  what errors call it
 * @returns its entries in the file's order
 * @throws ClusterError `invalid` naming the field
 */
export function parseIndex(text: string, name: string): readonly Descriptor[] {
  const index = ImageJson.parse(text, name);
  version2(index);
  return index.list('manifests', INDEX_ENTRIES_MAX).map((each) => descriptor(each, JSON_BYTES_MAX));
}

/** Reads a manifest. @throws ClusterError `invalid` naming the field, or the media type that is not known here */
export function parseManifest(text: string, name: string): Manifest {
  const manifest = ImageJson.parse(text, name);
  version2(manifest);
  if (manifest.has('manifests')) throw manifest.wrong('', 'is an index, not a manifest');
  const type = manifest.text('mediaType', MANIFEST_TYPE);
  if (!MANIFEST_TYPES.includes(type)) throw unknown(name, type);
  const config = descriptor(manifest.object('config'), JSON_BYTES_MAX);
  if (!CONFIG_TYPES.includes(config.mediaType)) throw unknown(`config of ${name}`, config.mediaType);
  const layers = manifest.list('layers', LAYERS_MAX).map((each) => descriptor(each, BLOB_BYTES_MAX));
  if (layers.length === 0) throw manifest.wrong('layers', 'is empty');
  for (const layer of layers)
    if (!LAYER_TYPES.includes(layer.mediaType)) throw unknown(`layer ${layer.digest} of ${name}`, layer.mediaType);
  return { config, layers };
}

/**
 * The entry of an index for our platform: the best that this machine's processor runs, the first of several. Attestations and
 * the like, which lie beside images, are passed over; an entry without a platform counts only when it is alone.
 *
 * @throws ClusterError `invalid` listing the platforms there are
 */
export function choosePlatform(entries: readonly Descriptor[], name: string, machine?: Machine): Descriptor {
  const images = entries.filter((each) => !isBeside(each));
  const [first] = images;
  if (images.length === 1 && first !== undefined && first.platform === undefined) return first;
  const ranked = images.flatMap((entry) => {
    const rank = entry.platform === undefined ? undefined : rankOf(entry.platform, machine);
    return rank === undefined ? [] : [{ entry, rank }];
  });
  const best = ranked.toSorted((a, b) => a.rank - b.rank)[0];
  if (best !== undefined) return best.entry;
  throw wrongPlatform(
    name,
    images.map((each) => each.platform),
    machine,
  );
}

/** Attestations and signatures: nothing that runs. Source: BuildKit, docs/attestations/attestation-storage.md. */
export function isBeside(entry: Descriptor): boolean {
  return entry.platform?.os === 'unknown' || entry.annotations['vnd.docker.reference.type'] === 'attestation-manifest';
}

function version2(json: ImageJson): void {
  // Schema 1 had no descriptors and no digests of its own; Docker itself has given it up.
  if (json.number('schemaVersion') !== 2) throw json.wrong('schemaVersion', 'is not 2');
}

function descriptor(json: ImageJson, sizeMax: number): Descriptor {
  const size = json.number('size');
  if (size > sizeMax) throw json.wrong('size', `is ${size} bytes, more than ${sizeMax}`);
  const platform = json.has('platform') ? platformOf(json.object('platform')) : undefined;
  return {
    mediaType: json.text('mediaType'),
    digest: json.digest('digest'),
    size,
    annotations: json.has('annotations') ? json.object('annotations').texts() : {},
    ...(platform === undefined ? {} : { platform }),
  };
}

function platformOf(json: ImageJson): Platform {
  const variant = json.text('variant', '');
  return {
    os: json.text('os', ''),
    arch: json.text('architecture', ''),
    ...(variant === '' ? {} : { variant }),
  };
}

function unknown(what: string, mediaType: string): ClusterError {
  return new ClusterError('invalid', `${what} has the unknown media type "${mediaType.slice(0, 200)}"`, {
    hint: 'OCI images and Docker schema 2 are understood',
  });
}
