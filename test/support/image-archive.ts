/** Image archives made by tests: sound ones, and ones with any part spoilt. */
import { gzipSync } from 'node:zlib';
import { digestOf } from '../../common/oci/digest.ts';
import { PLATFORM } from '../../common/oci/platform.ts';
import { type TarPart, tarOf } from './tar.ts';

export interface LayerSpec {
  readonly tar: Buffer;
  readonly mediaType?: string;
  /** The blob's bytes when they are not the gzipped tar. */
  readonly blob?: Buffer;
  readonly diffId?: string;
}

export interface ImageSpec {
  readonly reference?: string;
  readonly layers: readonly LayerSpec[];
  readonly config?: Readonly<Record<string, unknown>>;
  readonly arch?: string;
  readonly os?: string;
}

export interface BuiltImage {
  readonly digest: string;
  readonly manifest: string;
  readonly config: string;
  readonly blobs: ReadonlyMap<string, Buffer>;
  readonly reference: string;
}

/** One layer from entries. */
export function layer(parts: readonly TarPart[]): LayerSpec {
  return { tar: tarOf(parts) };
}

export function imageOf(spec: ImageSpec): BuiltImage {
  const blobs = new Map<string, Buffer>();
  const add = (bytes: Buffer): { digest: string; size: number } => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  };
  const layers = spec.layers.map((each) => ({
    mediaType: each.mediaType ?? 'application/vnd.oci.image.layer.v1.tar+gzip',
    ...add(each.blob ?? gzipSync(each.tar)),
  }));
  const config = JSON.stringify({
    architecture: spec.arch ?? PLATFORM.arch,
    os: spec.os ?? PLATFORM.os,
    config: spec.config ?? { Cmd: ['/server'] },
    rootfs: { type: 'layers', diff_ids: spec.layers.map((each) => each.diffId ?? digestOf(each.tar)) },
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...add(Buffer.from(config)) },
    layers,
  });
  const { digest } = add(Buffer.from(manifest));
  return { digest, manifest, config, blobs, reference: spec.reference ?? 'web:1' };
}

/** Blobs as files of an OCI layout. */
export function blobParts(blobs: ReadonlyMap<string, Buffer>): readonly TarPart[] {
  return [...blobs].map(([digest, body]) => ({ path: `blobs/sha256/${digest.slice(7)}`, body }));
}

export function indexPart(images: readonly BuiltImage[]): TarPart {
  const manifests = images.map((image) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: image.digest,
    size: Buffer.byteLength(image.manifest),
    annotations: { 'org.opencontainers.image.ref.name': image.reference },
  }));
  return { path: 'index.json', body: JSON.stringify({ schemaVersion: 2, manifests }) };
}

/** A sound OCI layout. */
export function archiveOf(...images: readonly BuiltImage[]): Buffer {
  const blobs = new Map(images.flatMap((image) => [...image.blobs]));
  return tarOf([
    { path: 'oci-layout', body: '{"imageLayoutVersion":"1.0.0"}' },
    ...blobParts(blobs),
    indexPart(images),
  ]);
}

/** What `docker save` wrote before Docker 25. */
export function dockerSaveOf(spec: ImageSpec): Buffer {
  const image = imageOf(spec);
  const configName = `${digestOf(image.config).slice(7)}.json`;
  const files = spec.layers.map((each, index) => ({ path: `layer${index}/layer.tar`, body: each.tar }));
  const list = [{ Config: configName, RepoTags: [image.reference], Layers: files.map((file) => file.path) }];
  return tarOf([
    { path: 'layer0/', type: '5' },
    ...files,
    { path: configName, body: image.config },
    { path: 'manifest.json', body: JSON.stringify(list) },
  ]);
}
