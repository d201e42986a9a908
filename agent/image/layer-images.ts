/**
 * Images of this host in folders: pulled by digest, each layer unpacked once.
 *
 *   DIR/blobs, DIR/incoming    manifests and configs; layers' blobs only until they are unpacked
 *   DIR/layers/<hex>           see layer-folders.ts
 *   DIR/images/<hex>.json      an image that is wholly here: what it consists of
 */
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ClusterError } from '../../common/errors.ts';
import { type Digest, isDigest } from '../../common/model/ids.ts';
import { BlobStore } from '../../common/oci/blob-store.ts';
import { type ConfigFile, parseConfig } from '../../common/oci/config.ts';
import { diskError } from '../../common/oci/disk.ts';
import { LayerReader } from '../../common/oci/layer.ts';
import { type Descriptor, JSON_BYTES_MAX, type Manifest, parseManifest } from '../../common/oci/manifest.ts';
import { fits, wrongPlatform } from '../../common/oci/platform.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import type { Images, UnpackedImage } from './image.ts';
import { LayerFolders } from './layer-folders.ts';
import { type BlobServer, Puller } from './pull.ts';
import { Turns } from './turns.ts';
import { unpackLayer } from './unpack.ts';

/** Images that are brought here at once: more would only share the same line and disk. Source: issue 3, 5. */
const PULLS_MAX = 3;
/** Images that no task uses stay up to this number, for tasks that come back. */
export const UNUSED_MAX = 10;

export interface LayerImagesOptions {
  /** Made if missing, mode 0700; nobody else's. */
  readonly dir: string;
  /** The managers to ask, best first; asked anew for each blob. Empty = none reachable. */
  readonly servers: () => readonly BlobServer[];
  readonly log: Logger;
}

/** What an image consists of. The file's presence says that all of it is here. */
interface ImageRecord {
  readonly digest: Digest;
  readonly config: Digest;
  /** DiffIDs of the folders to be mounted, lowest first. */
  readonly layers: readonly Digest[];
}

export class LayerImages implements Images {
  readonly #options: LayerImagesOptions;
  readonly #blobs: BlobStore;
  readonly #folders: LayerFolders;
  readonly #puller: Puller;
  readonly #ensuring = new SingleFlight<Digest, UnpackedImage>();
  readonly #unpacking = new SingleFlight<Digest, void>();
  /** What images being ensured need; `collect` leaves it alone. Values count the images. */
  readonly #pins = new Map<Digest, number>();
  readonly #pulling = new Turns(PULLS_MAX);
  readonly #collecting = new Turns(1);
  /** Images found whole by this process: a replacement of a task that died must not wait for the disk. */
  readonly #whole = new Map<Digest, UnpackedImage>();
  #isHeld: (part: Digest) => boolean = () => false;
  /** What the collection under way leaves alone. */
  #kept: Set<Digest> | undefined;

  private constructor(options: LayerImagesOptions, blobs: BlobStore, folders: LayerFolders) {
    this.#options = options;
    this.#blobs = blobs;
    this.#folders = folders;
    this.#puller = new Puller(blobs, options.servers);
  }

  /** Manifests and configs, and packed layers on their way. */
  get blobs(): BlobStore {
    return this.#blobs;
  }

  get folders(): LayerFolders {
    return this.#folders;
  }

  /** Layers and blobs that `collect` leaves alone besides those of images: asked for each, when its turn has come. */
  protect(isHeld: (part: Digest) => boolean): void {
    this.#isHeld = isHeld;
  }

  /** Repairs what a crash left. @throws ClusterError `exhausted` | `unavailable` without the native core */
  static async open(options: LayerImagesOptions): Promise<LayerImages> {
    const blobs = await BlobStore.open(options.dir);
    await mkdir(join(options.dir, 'images'), { recursive: true, mode: 0o700 });
    const folders = await LayerFolders.open(join(options.dir, 'layers'));
    return new LayerImages(options, blobs, folders);
  }

  ensure(reference: string, digest: Digest, signal: AbortSignal): Promise<UnpackedImage> {
    const work = async (shared: AbortSignal): Promise<UnpackedImage> => {
      const whole = this.#whole.get(digest);
      if (whole !== undefined) return whole;
      const isHere = await this.#isRecorded(digest);
      const make = (): Promise<UnpackedImage> => this.#ensure(reference, digest, shared);
      return await (isHere ? make() : this.#pulling.run(make, shared));
    };
    return this.#ensuring.run(digest, work, signal);
  }

  async trim(inUse: ReadonlySet<Digest>, signal: AbortSignal): Promise<void> {
    const unused = (await this.#records()).filter((record) => !inUse.has(record.digest));
    if (unused.length <= UNUSED_MAX) return;
    const aged = await Promise.all(
      unused.map(async ({ digest }) => ({ digest, at: (await stat(this.#recordPath(digest))).mtimeMs })),
    );
    const young = aged.toSorted((a, b) => b.at - a.at).slice(0, UNUSED_MAX);
    await this.collect(new Set([...inUse, ...young.map(({ digest }) => digest)]), signal);
  }

  collect(inUse: ReadonlySet<Digest>, signal: AbortSignal): Promise<void> {
    return this.#collecting.run(() => this.#collect(inUse, signal), signal);
  }

  async #collect(inUse: ReadonlySet<Digest>, signal: AbortSignal): Promise<void> {
    for (const digest of this.#whole.keys()) if (!inUse.has(digest)) this.#whole.delete(digest);
    const kept = new Set<Digest>();
    this.#kept = kept;
    for (const record of await this.#records()) {
      signal.throwIfAborted();
      if (inUse.has(record.digest) || kept.has(record.digest) || this.#ensuring.keys.includes(record.digest)) {
        for (const part of [record.digest, record.config, ...record.layers]) kept.add(part);
      } else {
        await rm(this.#recordPath(record.digest), { force: true });
      }
    }
    for (const layer of await this.#folders.list()) {
      signal.throwIfAborted();
      // Pins are looked at and the folder hidden in one turn of the loop, so that no `ensure` comes between.
      if (kept.has(layer) || this.#pins.has(layer) || this.#isHeld(layer)) continue;
      await this.#folders.hide(layer)();
    }
    for (const blob of [...(await this.#blobs.list()), ...(await this.#blobs.begun())]) {
      signal.throwIfAborted();
      if (kept.has(blob) || this.#pins.has(blob) || this.#isHeld(blob)) continue;
      await this.#blobs.remove(blob);
    }
  }

  /** Waits until what was unpacked is on the disk. */
  close(): Promise<void> {
    return this.#folders.synced();
  }

  async #ensure(reference: string, digest: Digest, signal: AbortSignal): Promise<UnpackedImage> {
    const name = `image "${reference}" (${digest})`;
    const pins: Digest[] = [];
    const pin = (part: Digest): void => {
      pins.push(part);
      this.#pins.set(part, (this.#pins.get(part) ?? 0) + 1);
    };
    try {
      pin(digest);
      await this.#puller.pull({ digest }, signal);
      const manifest = parseManifest(await this.#blobs.text(digest, JSON_BYTES_MAX), `manifest of ${name}`);
      pin(manifest.config.digest);
      await this.#puller.pull(manifest.config, signal);
      const file = parseConfig(await this.#blobs.text(manifest.config.digest, JSON_BYTES_MAX), `config of ${name}`);
      checkFit(file, manifest, name);
      const layers = topmost(file.diffIds);
      for (const part of [...layers, ...manifest.layers.map((layer) => layer.digest)]) pin(part);
      for (const layer of layers) {
        const blob = manifest.layers[file.diffIds.lastIndexOf(layer)] as Descriptor;
        await this.#unpack(blob, layer, name, signal);
      }
      await this.#record({ digest, config: manifest.config.digest, layers });
      for (const part of pins) this.#kept?.add(part);
      const image = { digest, layers: layers.map((layer) => this.#folders.pathOf(layer)), config: file.config };
      this.#whole.set(digest, image);
      return image;
    } finally {
      for (const part of pins) this.#unpin(part);
    }
  }

  #unpack(blob: Descriptor, diffId: Digest, image: string, signal: AbortSignal): Promise<void> {
    const work = async (shared: AbortSignal): Promise<void> => {
      if (await this.#folders.has(diffId)) return;
      await this.#puller.pull(blob, shared);
      const name = `layer ${blob.digest} of ${image}`;
      const startedAt = performance.now();
      await this.#folders.make(diffId, async (dir) => {
        const reader = new LayerReader(this.#blobs.read(blob.digest), name);
        const { leftOut } = await unpackLayer({ reader, dir, diffId, name }, shared);
        if (leftOut > 0) this.#options.log.info({ image, layer: diffId, leftOut }, 'devices 0, 0 of a layer left out');
      });
      await this.#blobs.remove(blob.digest);
      const ms = Math.round(performance.now() - startedAt);
      this.#options.log.debug({ image, layer: diffId, bytes: blob.size, ms }, 'layer unpacked');
    };
    return this.#unpacking.run(diffId, work, signal);
  }

  async #record(record: ImageRecord): Promise<void> {
    const path = this.#recordPath(record.digest);
    try {
      await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
      await rename(`${path}.new`, path);
    } catch (cause) {
      throw diskError(`record of image ${record.digest}`, cause);
    }
  }

  async #isRecorded(digest: Digest): Promise<boolean> {
    try {
      await access(this.#recordPath(digest));
      return true;
    } catch {
      return false;
    }
  }

  async #records(): Promise<readonly ImageRecord[]> {
    const records: ImageRecord[] = [];
    for (const name of await readdir(join(this.#options.dir, 'images'))) {
      const digest = `sha256:${name.replace(/\.json$/, '')}`;
      if (!name.endsWith('.json') || !isDigest(digest)) continue;
      records.push(JSON.parse(await readFile(this.#recordPath(digest), 'utf8')) as ImageRecord);
    }
    return records;
  }

  #recordPath(digest: Digest): string {
    return join(this.#options.dir, 'images', `${digest.slice('sha256:'.length)}.json`);
  }

  #unpin(part: Digest): void {
    const count = (this.#pins.get(part) ?? 1) - 1;
    if (count === 0) this.#pins.delete(part);
    else this.#pins.set(part, count);
  }
}

/** A layer that occurs twice counts where it is highest: overlayfs refuses one folder at two places. */
function topmost(diffIds: readonly Digest[]): readonly Digest[] {
  return diffIds.filter((each, index) => diffIds.lastIndexOf(each) === index);
}

function checkFit(file: ConfigFile, manifest: Manifest, name: string): void {
  if (!fits(file)) throw wrongPlatform(name, [file]);
  if (file.diffIds.length !== manifest.layers.length) {
    const count = `${manifest.layers.length} layers and ${file.diffIds.length} DiffIDs`;
    throw new ClusterError('invalid', `${name} is malformed: it has ${count}`, { hint: 'build the image again' });
  }
}
