/**
 * Images as one archive. Comes in: image objects and the way to their blobs. Goes out: a tar, made while it is sent, that is
 * an OCI layout and has the manifest.json of `docker save` beside it. The same images give the same bytes.
 */
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { JSON_BYTES_MAX, MANIFEST_TYPE, parseManifest } from '../../common/oci/manifest.ts';
import { tarOf } from '../../common/oci/tar-writer.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { IMAGES_MAX } from './archive-images.ts';

/** As the contract says. */
const CHUNK_BYTES = 1024 * 1024;

/** Where the blobs are. */
export interface SaveSource {
  readonly blobs: BlobStore;
  /** Brings a blob here from another manager. */
  readonly fetch: (digest: Digest, signal: AbortSignal) => Promise<void>;
}

/** Owner, mode and time are nobody's: the same content gives the same bytes. */
const PLAIN: TreeEntry = {
  kind: 'file',
  path: '',
  link: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  seconds: 0,
  nanos: 0,
  major: 0,
  minor: 0,
  last: true,
  body: null,
  xattrs: [],
};

interface Documents {
  readonly mediaType: string;
  readonly size: number;
  readonly config: Digest;
  readonly layers: readonly Digest[];
}

/**
 * The archive's bytes, in pieces of at most 1 MiB. Blobs come first, each once, then the documents that name them.
 *
 * @param images  with their names; may share digests. Not empty
 * @throws ClusterError `invalid` for more than IMAGES_MAX; `not_found`, `unavailable` for a blob that nobody gives
 */
export function saveArchive(
  images: readonly Image[],
  source: SaveSource,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (images.length > IMAGES_MAX) {
    throw new ClusterError('invalid', `${images.length} images are more than ${IMAGES_MAX} in one archive`, {
      hint: 'save them in several archives',
    });
  }
  return tarOf(entriesOf(images, source, signal));
}

async function* entriesOf(
  images: readonly Image[],
  source: SaveSource,
  signal: AbortSignal,
): AsyncGenerator<TreeEntry> {
  const ordered = images.toSorted((a, b) => (a.reference < b.reference ? -1 : 1));
  yield file('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const written = new Set<Digest>();
  const found = new Map<Digest, Documents>();
  for (const image of ordered) {
    if (!found.has(image.digest)) found.set(image.digest, await documentsOf(image, source, signal));
    for (const digest of image.blobs) {
      if (written.has(digest)) continue;
      written.add(digest);
      yield* blobFile(digest, source, signal);
    }
  }
  yield file('index.json', indexOf(ordered, found));
  yield file('manifest.json', listOf(ordered, found));
}

async function documentsOf(image: Image, source: SaveSource, signal: AbortSignal): Promise<Documents> {
  await present(image.digest, source, signal);
  const text = await source.blobs.text(image.digest, JSON_BYTES_MAX);
  const { config, layers } = parseManifest(text, `manifest of image "${image.reference}"`);
  const { mediaType = MANIFEST_TYPE } = JSON.parse(text) as { mediaType?: string };
  const size = Buffer.byteLength(text);
  return { mediaType, size, config: config.digest, layers: layers.map((layer) => layer.digest) };
}

async function present(digest: Digest, { blobs, fetch }: SaveSource, signal: AbortSignal): Promise<number> {
  if (!(await blobs.has(digest))) await fetch(digest, signal);
  const size = await blobs.sizeOf(digest);
  if (size === undefined) throw new ClusterError('unavailable', `blob ${digest} was removed`, { hint: 'try again' });
  return size;
}

async function* blobFile(digest: Digest, source: SaveSource, signal: AbortSignal): AsyncGenerator<TreeEntry> {
  const size = await present(digest, source, signal);
  const head = { ...PLAIN, path: blobPath(digest), size };
  yield { ...head, last: size === 0 };
  let left = size;
  for await (const chunk of source.blobs.read(digest)) {
    signal.throwIfAborted();
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
      const body = chunk.subarray(at, at + CHUNK_BYTES);
      left -= body.length;
      yield { ...head, kind: 'append', body, last: left === 0 };
    }
  }
}

function file(path: string, text: string): TreeEntry {
  const body = Buffer.from(text);
  return { ...PLAIN, path, size: body.length, body };
}

/** One entry a name. Source: OCI image-spec, image-layout.md; containerd's annotation is what `docker load` goes by. */
function indexOf(images: readonly Image[], found: ReadonlyMap<Digest, Documents>): string {
  const manifests = images.map((image) => {
    const { mediaType, size } = found.get(image.digest) as Documents;
    return {
      mediaType,
      digest: image.digest,
      size,
      annotations: {
        'io.containerd.image.name': fullName(image.reference),
        'org.opencontainers.image.ref.name': image.reference.slice(image.reference.lastIndexOf(':') + 1),
      },
      platform: { architecture: image.arch, os: image.os },
    };
  });
  return JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests });
}

/** One entry an image, as `docker save` before Docker 25 wrote them. */
function listOf(images: readonly Image[], found: ReadonlyMap<Digest, Documents>): string {
  const entries = [...found].map(([digest, { config, layers }]) => ({
    Config: blobPath(config),
    RepoTags: images.filter((image) => image.digest === digest).map(({ reference }) => reference),
    Layers: layers.map(blobPath),
  }));
  return JSON.stringify(entries);
}

function blobPath(digest: Digest): string {
  return `blobs/sha256/${digest.slice('sha256:'.length)}`;
}

/** With the registry that Docker leaves out. */
function fullName(reference: string): string {
  const [host = '', ...path] = reference.split('/');
  if (path.length === 0) return `docker.io/library/${reference}`;
  return /[.:]/.test(host) || host === 'localhost' ? reference : `docker.io/${reference}`;
}
