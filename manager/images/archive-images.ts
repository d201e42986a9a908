/**
 * Tells which images an archive holds. Comes in: the files of an OCI layout or of `docker save`, old and new. Goes out: each
 * image with its manifest and blobs, all of them proved. An old `docker save` has no manifest: one is made for it, always
 * the same for the same content.
 */
import { open, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { ClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import { type ConfigFile, LAYERS_MAX, parseConfig } from '../../common/oci/config.ts';
import { digestOf } from '../../common/oci/digest.ts';
import { MAGIC_BYTES, packingOf } from '../../common/oci/inflate.ts';
import { ImageJson } from '../../common/oci/json.ts';
import {
  CONFIG_TYPE,
  choosePlatform,
  type Descriptor,
  isBeside,
  isIndexType,
  JSON_BYTES_MAX,
  LAYER_GZIP_TYPE,
  LAYER_TAR_TYPE,
  LAYER_ZSTD_TYPE,
  MANIFEST_TYPE,
  type Manifest,
  parseIndex,
  parseManifest,
} from '../../common/oci/manifest.ts';
import { fits, wrongPlatform } from '../../common/oci/platform.ts';
import { parseReference } from '../../common/oci/reference.ts';
import type { Archive, StagedFile } from './archive.ts';

/** An image of an archive; every blob it names is there and has its digest and size. Layers are not looked into yet. */
export interface ArchiveImage {
  /** `NAME:TAG`, at least one. */
  readonly references: readonly string[];
  readonly digest: Digest;
  /** The manifest's bytes. */
  readonly manifestText: string;
  readonly manifest: Manifest;
  readonly config: ConfigFile;
  /** Config and layers, by digest. */
  readonly blobs: ReadonlyMap<Digest, StagedFile>;
}

/** More images in one upload would not fit one atomic commit. */
export const IMAGES_MAX = 16;
const INDEX_DEPTH_MAX = 3;
const NAME_ANNOTATION = 'io.containerd.image.name';
const REF_ANNOTATION = 'org.opencontainers.image.ref.name';

/**
 * @returns at least one image, at most IMAGES_MAX
 * @throws ClusterError `invalid` naming the image, blob or field that is wrong
 */
export async function imagesOf(archive: Archive): Promise<readonly ArchiveImage[]> {
  const index = archive.documents.get('index.json');
  const list = archive.documents.get('manifest.json');
  const images = index !== undefined ? await fromIndex(index, list, archive) : await fromList(list, archive);
  if (images.length === 0)
    throw new ClusterError('invalid', 'the image archive holds no image', { hint: 'export one by name' });
  const count = images.reduce((sum, image) => sum + image.references.length, 0);
  if (count > IMAGES_MAX) {
    throw new ClusterError('invalid', `the image archive holds ${count} images, more than ${IMAGES_MAX}`, {
      hint: 'load them in several archives',
    });
  }
  return images;
}

/** OCI layout; `docker save` of Docker 25 and later has this beside manifest.json. */
async function fromIndex(text: string, list: string | undefined, archive: Archive): Promise<readonly ArchiveImage[]> {
  const images: ArchiveImage[] = [];
  const entries = parseIndex(text, 'index.json');
  const tags = entries.length === 1 && list !== undefined ? tagsOf(list) : [];
  for (const entry of entries) {
    if (isBeside(entry)) continue;
    const references = referencesOf(entry, tags);
    const name = `image "${references[0]}"`;
    const found = await follow(entry, archive, name);
    images.push(await describe(references, found, archive));
  }
  return images;
}

/** Follows nested indexes to the manifest for our platform. */
async function follow(
  entry: Descriptor,
  archive: Archive,
  name: string,
): Promise<{ readonly digest: Digest; readonly text: string }> {
  let at = entry;
  for (let depth = 0; depth <= INDEX_DEPTH_MAX; depth += 1) {
    const file = blob(at, archive, `manifest of ${name}`);
    const text = await readText(file, `manifest ${at.digest} of ${name}`);
    if (!isIndexType(at.mediaType)) return { digest: at.digest, text };
    at = choosePlatform(parseIndex(text, `index ${at.digest} of ${name}`), name);
  }
  throw new ClusterError('invalid', `${name} nests indexes deeper than ${INDEX_DEPTH_MAX}`, {
    hint: 'export it again',
  });
}

function referencesOf(entry: Descriptor, tags: readonly string[]): readonly string[] {
  const full = entry.annotations[NAME_ANNOTATION];
  if (full !== undefined) return [parseReference(full).reference];
  if (tags.length > 0) return tags;
  const short = entry.annotations[REF_ANNOTATION];
  if (short !== undefined) return [parseReference(short).reference];
  throw new ClusterError('invalid', `the image ${entry.digest} of the archive has no name`, {
    hint: `export it by NAME:TAG, or set the annotation ${REF_ANNOTATION}`,
  });
}

/** `docker save` before Docker 25: only manifest.json. */
async function fromList(text: string | undefined, archive: Archive): Promise<readonly ArchiveImage[]> {
  if (text === undefined) {
    throw new ClusterError('invalid', 'the file is no image archive: it has neither index.json nor manifest.json', {
      hint: 'make one with `docker save NAME:TAG`, or as an OCI layout in a tar',
    });
  }
  const images: ArchiveImage[] = [];
  for (const entry of ImageJson.parse(text, 'manifest.json').asList(IMAGES_MAX * 2)) {
    const references = tagsIn(entry);
    const [first] = references;
    if (first === undefined) throw entry.wrong('RepoTags', 'is empty: the image has no name');
    const made = await synthesize(entry, archive, `image "${first}"`);
    images.push(await describe(references, made, archive));
  }
  return images;
}

function tagsOf(list: string): readonly string[] {
  return ImageJson.parse(list, 'manifest.json')
    .asList(IMAGES_MAX * 2)
    .flatMap(tagsIn);
}

function tagsIn(entry: ImageJson): readonly string[] {
  if (!entry.has('RepoTags')) return [];
  return entry.list('RepoTags', IMAGES_MAX * 2).map((tag) => parseReference(tag.asText()).reference);
}

async function synthesize(
  entry: ImageJson,
  archive: Archive,
  name: string,
): Promise<{ readonly digest: Digest; readonly text: string }> {
  const config = named(entry.text('Config'), archive, `config of ${name}`);
  const layers = entry.list('Layers', LAYERS_MAX).map((each) => named(each.asText(), archive, `layer of ${name}`));
  const descriptors = await Promise.all(layers.map(async (layer) => descriptorOf(await layerType(layer), layer)));
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: descriptorOf(CONFIG_TYPE, config),
    layers: descriptors,
  };
  const text = JSON.stringify(manifest);
  return { digest: digestOf(text), text };
}

function descriptorOf(mediaType: string, file: StagedFile): { mediaType: string; digest: Digest; size: number } {
  return { mediaType, digest: file.digest, size: file.size };
}

const LAYER_TYPES = { gzip: LAYER_GZIP_TYPE, zstd: LAYER_ZSTD_TYPE, plain: LAYER_TAR_TYPE } as const;

async function layerType(file: StagedFile): Promise<string> {
  const handle = await open(file.path, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(MAGIC_BYTES), 0, MAGIC_BYTES, 0);
    return LAYER_TYPES[packingOf(buffer)];
  } finally {
    await handle.close();
  }
}

function named(path: string, archive: Archive, what: string): StagedFile {
  const file = archive.files.get(posix.normalize(path));
  if (file === undefined) throw missing(`${what} ("${path.slice(0, 200)}")`);
  return file;
}

async function describe(
  references: readonly string[],
  found: { readonly digest: Digest; readonly text: string },
  archive: Archive,
): Promise<ArchiveImage> {
  const name = `image "${references[0]}"`;
  const manifest = parseManifest(found.text, `manifest ${found.digest} of ${name}`);
  const blobs = new Map<Digest, StagedFile>();
  const configFile = blob(manifest.config, archive, `config of ${name}`);
  blobs.set(manifest.config.digest, configFile);
  for (const layer of manifest.layers) blobs.set(layer.digest, blob(layer, archive, `layer of ${name}`));
  const config = parseConfig(
    await readText(configFile, `config of ${name}`),
    `config ${manifest.config.digest} of ${name}`,
  );
  if (!fits(config)) throw wrongPlatform(name, [config]);
  if (config.diffIds.length !== manifest.layers.length) {
    const why = `its manifest has ${manifest.layers.length} layers, its config ${config.diffIds.length} DiffIDs`;
    throw new ClusterError('invalid', `${name} is malformed: ${why}`, { hint: 'export it again' });
  }
  return { references, digest: found.digest, manifestText: found.text, manifest, config, blobs };
}

/** The staged file of a descriptor, with the size it promises. */
function blob(descriptor: Descriptor, archive: Archive, what: string): StagedFile {
  const file = archive.byDigest.get(descriptor.digest);
  if (file === undefined) throw missing(`${what} (blob ${descriptor.digest})`);
  if (file.size === descriptor.size) return file;
  throw new ClusterError(
    'invalid',
    `${what} (blob ${descriptor.digest}) is corrupt: it has ${file.size} bytes instead of ${descriptor.size}`,
    { hint: 'export the image again' },
  );
}

async function readText(file: StagedFile, what: string): Promise<string> {
  if (file.size > JSON_BYTES_MAX)
    throw new ClusterError('invalid', `${what} has ${file.size} bytes, more than ${JSON_BYTES_MAX}`);
  return readFile(file.path, 'utf8');
}

function missing(what: string): ClusterError {
  return new ClusterError('invalid', `the image archive is incomplete: ${what} is missing`, {
    hint: 'export the image again',
  });
}
