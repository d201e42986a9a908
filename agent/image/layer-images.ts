/**
 * Images of this host in folders: pulled by digest, each layer unpacked once.
 *
 *   DIR/blobs, DIR/incoming    manifests and configs; layers' blobs, as long as they are kept for other nodes
 *   DIR/layers/<hex>           see layer-folders.ts
 *   DIR/images/<hex>.json      an image that is wholly here: what it consists of
 */
import { access, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ClusterError } from '../../common/errors.ts';
import { type Digest, type Instant, isDigest } from '../../common/model/ids.ts';
import { BlobStore } from '../../common/oci/blob-store.ts';
import { type ConfigFile, parseConfig } from '../../common/oci/config.ts';
import { diskError } from '../../common/oci/disk.ts';
import { LAYER_LIMITS, LayerReader } from '../../common/oci/layer.ts';
import { type Descriptor, JSON_BYTES_MAX, type Manifest, parseManifest } from '../../common/oci/manifest.ts';
import { fits, wrongPlatform } from '../../common/oci/platform.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import { Turns } from '../../common/turns.ts';
import type { Holdings } from '../mesh/holdings.ts';
import { Mesh, type MeshTools } from '../mesh/mesh.ts';
import { Arrivals } from './arrivals.ts';
import type { HeldImage, Images, UnpackedImage } from './image.ts';
import { LayerFolders } from './layer-folders.ts';
import { NATIVE_MEANS } from './means.ts';
import { type BlobServer, Puller } from './pull.ts';
import { unpackLayer } from './unpack.ts';

/** Images that are brought here at once: more would only share the same line and disk. Source: issue 3, 5. */
const PULLS_MAX = 3;
/** Layers that are brought and unpacked at once. */
const LAYERS_MAX = 3;
export interface LayerImagesOptions {
  /** Made if missing, mode 0700; nobody else's. */
  readonly dir: string;
  /** The managers to ask, best first; asked anew for each blob. Empty = none reachable. */
  readonly servers: () => readonly BlobServer[];
  /** The way to other nodes; absent: everything comes from managers. */
  readonly mesh?: MeshTools;
  /** Bytes of packed layers that are kept for other nodes; the oldest go first. Absent: none. */
  readonly keepBytes?: number;
  readonly log: Logger;
}

/** What an image consists of. The file's presence says that all of it is here; its time, when it was last used. */
interface ImageRecord {
  readonly digest: Digest;
  /** As it was asked for; absent in records of earlier versions. */
  readonly reference?: string;
  readonly config: Digest;
  /** DiffIDs of the folders to be mounted, lowest first. */
  readonly layers: readonly Digest[];
  /** The layers as they came; absent in records of before they were kept. */
  readonly packed?: readonly Digest[];
}

export class LayerImages implements Images {
  readonly #options: LayerImagesOptions;
  readonly #blobs: BlobStore;
  readonly #folders: LayerFolders;
  readonly #mesh: Mesh | undefined;
  readonly #arrivals: Arrivals;
  readonly #ensuring = new SingleFlight<Digest, UnpackedImage>();
  readonly #unpacking = new SingleFlight<Digest, void>();
  /** What images being ensured need; a sweep leaves it alone. Values count the images. */
  readonly #pins = new Map<Digest, number>();
  readonly #pulling = new Turns(PULLS_MAX);
  readonly #layering = new Turns(LAYERS_MAX);
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
    this.#mesh = options.mesh === undefined ? undefined : new Mesh(blobs, options.mesh);
    this.#arrivals = new Arrivals(blobs, new Puller(blobs, options.servers), this.#mesh);
  }

  /** Manifests and configs, and packed layers on their way. */
  get blobs(): BlobStore {
    return this.#blobs;
  }

  get folders(): LayerFolders {
    return this.#folders;
  }

  /** Layers and blobs that a sweep leaves alone besides those of images: asked for each, when its turn has come. */
  protect(isHeld: (part: Digest) => boolean): void {
    this.#isHeld = isHeld;
  }

  /** Repairs what a crash left. @throws ClusterError `exhausted` | `unavailable` without the native core */
  static async open(options: LayerImagesOptions): Promise<LayerImages> {
    const blobs = await BlobStore.open(options.dir);
    await mkdir(join(options.dir, 'images'), { recursive: true, mode: 0o700 });
    const folders = await LayerFolders.open(join(options.dir, 'layers'));
    const images = new LayerImages(options, blobs, folders);
    await images.#arrivals.told();
    return images;
  }

  /** The service for other nodes; absent without a mesh. */
  get exchange(): Mesh['handlers'] | undefined {
    return this.#mesh?.handlers;
  }

  /** What this host has for other nodes. */
  get holdings(): Holdings {
    return this.#arrivals.holdings;
  }

  ensure(reference: string, digest: Digest, signal: AbortSignal): Promise<UnpackedImage> {
    const work = async (shared: AbortSignal): Promise<UnpackedImage> => {
      const whole = this.#whole.get(digest);
      if (whole !== undefined) return whole;
      const isHere = await this.#isRecorded(digest);
      const make = (): Promise<UnpackedImage> => this.#ensure(reference, digest, shared);
      if (isHere) return await make();
      const image = await this.#pulling.run(make, shared);
      await this.#bound();
      return image;
    };
    return this.#ensuring.run(digest, work, signal);
  }

  async list(): Promise<readonly HeldImage[]> {
    const images: HeldImage[] = [];
    for (const { digest, reference, layers } of await this.#records()) {
      const { mtimeMs } = await stat(this.#recordPath(digest));
      const folders = layers.map((layer) => this.#folders.pathOf(layer));
      images.push({ digest, reference: reference ?? digest, layers: folders, usedAt: mtimeMs });
    }
    return images;
  }

  async touch(inUse: ReadonlySet<Digest>, now: Instant): Promise<void> {
    for (const { digest } of await this.#records()) {
      if (inUse.has(digest)) await utimes(this.#recordPath(digest), now / 1_000, now / 1_000);
    }
  }

  /** Packed layers that are kept for other nodes, in no order. */
  async packed(): Promise<readonly { readonly digest: Digest; readonly size: number; readonly at: Instant }[]> {
    const documents = new Set((await this.#records()).flatMap(({ digest, config }) => [digest, config]));
    return (await this.#blobs.ages()).filter(({ digest }) => !documents.has(digest) && !this.#pins.has(digest));
  }

  /** One of these goes. False when it is being used at this moment. */
  async dropPacked(digest: Digest): Promise<boolean> {
    if (this.#pins.has(digest)) return false;
    await this.#arrivals.drop(digest);
    return true;
  }

  remove(digest: Digest, signal: AbortSignal): Promise<boolean> {
    return this.#collecting.run(async () => {
      if (this.#ensuring.keys.includes(digest) || !(await this.#isRecorded(digest))) return false;
      await this.#collect(digest, signal);
      return true;
    }, signal);
  }

  sweep(signal: AbortSignal): Promise<void> {
    return this.#collecting.run(() => this.#collect(undefined, signal), signal);
  }

  /** Removes that image, and every layer and blob that no other has. */
  async #collect(doomed: Digest | undefined, signal: AbortSignal): Promise<void> {
    if (doomed !== undefined) this.#whole.delete(doomed);
    const kept = new Set<Digest>();
    this.#kept = kept;
    for (const record of await this.#records()) {
      signal.throwIfAborted();
      if (record.digest !== doomed || kept.has(record.digest) || this.#ensuring.keys.includes(record.digest)) {
        const { digest, config, layers, packed = [] } = record;
        for (const part of [digest, config, ...layers, ...packed]) kept.add(part);
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
    for (const blob of await this.#blobs.list()) {
      signal.throwIfAborted();
      if (kept.has(blob) || this.#pins.has(blob) || this.#isHeld(blob)) continue;
      await this.#blobs.remove(blob);
    }
    // An image that is recorded is whole: what began to come of its packed layers, before a crash, nobody goes on with.
    for (const blob of await this.#blobs.begun()) {
      signal.throwIfAborted();
      if (!this.#pins.has(blob) && !this.#isHeld(blob)) await this.#blobs.drop(blob);
    }
    await this.#arrivals.told();
  }

  /** Packed layers beyond what is kept for other nodes go, the oldest first. */
  async #bound(): Promise<void> {
    const { keepBytes } = this.#options;
    if (keepBytes === undefined) return;
    const packed = await this.packed();
    let bytes = packed.reduce((sum, { size }) => sum + size, 0);
    for (const { digest, size } of packed.toSorted((a, b) => a.at - b.at)) {
      if (bytes <= keepBytes) return;
      if (await this.dropPacked(digest)) bytes -= size;
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
      await this.#arrivals.document({ digest }, signal);
      const manifest = parseManifest(await this.#blobs.text(digest, JSON_BYTES_MAX), `manifest of ${name}`);
      pin(manifest.config.digest);
      await this.#arrivals.document(manifest.config, signal);
      const file = parseConfig(await this.#blobs.text(manifest.config.digest, JSON_BYTES_MAX), `config of ${name}`);
      checkFit(file, manifest, name);
      const layers = topmost(file.diffIds);
      for (const part of [...layers, ...manifest.layers.map((layer) => layer.digest)]) pin(part);
      const blobOf = (layer: Digest) => manifest.layers[file.diffIds.lastIndexOf(layer)] as Descriptor;
      await together(layers, (layer, ending) => this.#unpack(blobOf(layer), layer, name, ending), signal);
      const packed = [...new Set(manifest.layers.map((layer) => layer.digest))];
      await this.#record({ digest, reference, config: manifest.config.digest, layers, packed });
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
      const name = `layer ${blob.digest} of ${image}`;
      const startedAt = performance.now();
      const use = (bytes: AsyncIterable<Uint8Array>): Promise<void> =>
        this.#folders.make(diffId, async (dir) => {
          const reader = new LayerReader(bytes, name, LAYER_LIMITS, NATIVE_MEANS);
          const { leftOut } = await unpackLayer({ reader, dir, diffId, name }, shared);
          if (leftOut > 0)
            this.#options.log.info({ image, layer: diffId, leftOut }, 'devices 0, 0 of a layer left out');
        });
      await this.#arrivals.layer(blob, use, shared);
      if (this.#options.keepBytes === undefined) await this.#arrivals.drop(blob.digest);
      const ms = Math.round(performance.now() - startedAt);
      this.#options.log.debug({ image, layer: diffId, bytes: blob.size, ms }, 'layer unpacked');
    };
    const inTurn = (shared: AbortSignal): Promise<void> => this.#layering.run(() => work(shared), shared);
    return this.#unpacking.run(diffId, inTurn, signal);
  }

  async #record(record: ImageRecord): Promise<void> {
    const path = this.#recordPath(record.digest);
    try {
      await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
      await rename(`${path}.new`, path);
    } catch (cause) {
      await rm(`${path}.new`, { force: true });
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

/** Does all of it at once; the first failure ends the others. */
async function together<T>(
  list: readonly T[],
  work: (value: T, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const ending = AbortSignal.any([signal, failed.signal]);
  const works = list.map((value) => work(value, ending).catch((cause: unknown) => failed.abort(cause)));
  await Promise.all(works);
  signal.throwIfAborted();
  failed.signal.throwIfAborted();
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
