/**
 * The entries of an image layer, with the rules that make it safe to unpack: the one door for the manager, which only
 * looks, and for the agent, which unpacks. Comes in: a layer's bytes, packed or plain. Goes out: entries with clean paths
 * beneath the root, whiteouts told apart. Nothing that leaves the root comes out.
 * Source: OCI image-spec, layer.md.
 */
import { ClusterError } from '../errors.ts';
import type { Digest } from '../model/ids.ts';
import { wrongDigest } from './digest.ts';
import { bounded, inflated } from './inflate.ts';
import { type LayerMeans, NODE_MEANS, type RunningHash } from './layer-means.ts';
import { shown, type TarEntry, TarReader } from './tar.ts';

/**
 * What is done at `path` (byte string, relative, no empty, `.` or `..` parts; empty = the root itself).
 * `whiteout`: hides `path` of lower layers. `opaque`: hides what lower layers have in the folder `path`. `nothing`: the character
 * device 0, 0, which no driver answers to and overlayfs takes for a whiteout; it is left out (ADR 0021).
 */
export type LayerEntry =
  | { readonly kind: 'whiteout'; readonly path: string }
  | { readonly kind: 'opaque'; readonly path: string }
  | { readonly kind: 'nothing'; readonly path: string }
  | TarEntry;

export interface LayerLimits {
  readonly entries: number;
  /** Of all files, unpacked. */
  readonly bytes: number;
}

/** A Debian root file system has 10,000 entries, the largest images known a few 100,000; bytes are a disk's worth. */
export const LAYER_LIMITS: LayerLimits = { entries: 1_000_000, bytes: 64 * 2 ** 30 };

/**
 * What an entry takes beside its body, on average: header, PAX records, what fills up blocks. It bounds what is no entry's, such as
 * zeros behind the end.
 */
export const HEADER_BYTES = 4_096;

/** Linux, PATH_MAX: longer ones cannot be made by one call. */
const PATH_BYTES_MAX = 4_095;
const PART_BYTES_MAX = 255;
/** What the kernel keeps of a device's numbers. Source: include/linux/kdev_t.h, MINORBITS. */
const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xfffff;
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** aufs's own files in old images; they mean nothing to overlayfs. */
const AUFS = '.wh..wh.';

export class LayerReader {
  readonly #name: string;
  readonly #limits: LayerLimits;
  readonly #hash: RunningHash;
  readonly #tar: TarReader;
  /** Files a hard link may point to. */
  readonly #linkable = new Set<string>();
  #entries = 0;
  #bytes = 0;

  /** @param name  what errors call the layer, such as `layer sha256:… of image "web:1"` */
  constructor(
    source: AsyncIterable<Uint8Array>,
    name: string,
    limits: LayerLimits = LAYER_LIMITS,
    means: LayerMeans = NODE_MEANS,
  ) {
    this.#name = name;
    this.#limits = limits;
    this.#hash = means.hash();
    const plainMax = limits.bytes + limits.entries * HEADER_BYTES;
    const plain = bounded(inflated(source, name, means), plainMax, () =>
      this.#refuse(`its tar has more than ${plainMax} bytes`),
    );
    this.#tar = new TarReader(this.#hashed(plain), name);
  }

  /**
   * The next entry; undefined at the end. A file's body is read with `chunk` before the next call.
   *
   * @throws ClusterError `invalid` naming layer and entry: `..` in a path, a hard link out of the layer, more than the
   *   limits, a broken archive
   */
  async next(): Promise<LayerEntry | undefined> {
    for (;;) {
      const entry = await this.#tar.next();
      if (entry === undefined) return undefined;
      this.#count(entry);
      const path = this.#clean(entry.path, entry);
      const checked = this.#judge(entry, path);
      if (checked !== undefined) return checked;
    }
  }

  /** As TarReader.chunk. */
  chunk(max: number): Promise<Buffer | undefined> {
    return this.#tar.chunk(max);
  }

  /** To be called after the last entry: proves that the unpacked layer is the one the config names. @throws ClusterError `invalid` */
  async prove(diffId: Digest): Promise<void> {
    const found = `sha256:${await this.#hash.digest()}`;
    if (found !== diffId) throw wrongDigest({ name: `${this.#name}, unpacked,`, digest: diffId }, found);
  }

  close(): Promise<void> {
    return this.#tar.close();
  }

  async *#hashed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      const room = this.#hash.add(chunk);
      if (room !== undefined) await room;
      yield chunk;
    }
  }

  #count(entry: TarEntry): void {
    this.#entries += 1;
    this.#bytes += entry.size;
    const { entries, bytes } = this.#limits;
    if (this.#entries > entries) throw this.#refuse(`it has more than ${entries} entries`);
    if (this.#bytes > bytes) throw this.#refuse(`it unpacks to more than ${bytes} bytes`);
  }

  /** What the entry means; undefined for what is to be passed over. */
  #judge(entry: TarEntry, path: string): LayerEntry | undefined {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (name.startsWith(WHITEOUT)) return this.#whiteout(path, name);
    if (path === '' && entry.kind !== 'directory') throw this.#refuse(`entry "${shown(entry.path)}" replaces the root`);
    switch (entry.kind) {
      case 'file':
      case 'symlink':
      case 'fifo':
        this.#linkable.add(path);
        return { ...entry, path };
      case 'directory':
        this.#linkable.delete(path);
        return { ...entry, path };
      case 'hardlink':
        return this.#hardlink(entry, path);
      case 'char':
      case 'block':
        return this.#node(entry, path);
    }
  }

  #node(entry: TarEntry, path: string): LayerEntry {
    const { major, minor } = entry.device ?? { major: 0, minor: 0 };
    if (major > MAJOR_MAX || minor > MINOR_MAX)
      throw this.#refuse(`device "${shown(path)}" has the numbers ${major}, ${minor}`);
    if (entry.kind === 'char' && major === 0 && minor === 0) {
      this.#linkable.delete(path);
      return { kind: 'nothing', path };
    }
    this.#linkable.add(path);
    return { ...entry, path };
  }

  #whiteout(path: string, name: string): LayerEntry | undefined {
    const folder = path.slice(0, path.length - name.length).replace(/\/$/, '');
    if (name === OPAQUE) return { kind: 'opaque', path: folder };
    if (name.startsWith(AUFS)) return undefined;
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw this.#refuse(`whiteout "${shown(path)}" names nothing`);
    return { kind: 'whiteout', path: folder === '' ? hidden : `${folder}/${hidden}` };
  }

  #hardlink(entry: TarEntry, path: string): LayerEntry {
    const link = this.#clean(entry.link, entry);
    // Every target has to come before, in this layer: what lies elsewhere is a lower layer's, or the host's.
    if (!this.#linkable.has(link)) {
      throw this.#refuse(`hard link "${shown(path)}" points to "${shown(entry.link)}", which is outside this layer`);
    }
    this.#linkable.add(path);
    return { ...entry, path, link };
  }

  /** Relative to the root, as Docker does it: a leading slash means the root; `..` is refused wherever it stands. */
  #clean(path: string, entry: TarEntry): string {
    if (path.includes('\0')) throw this.#refuse(`entry "${shown(path)}" has a NUL in its name`);
    if (path.length > PATH_BYTES_MAX) throw this.#refuse(`entry "${shown(path)}…" has a name of ${path.length} bytes`);
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..')) {
      const which = path === entry.path ? 'entry' : `hard link "${shown(entry.path)}" to`;
      throw this.#refuse(`${which} "${shown(path)}" leaves the root by ".."`);
    }
    if (parts.some((part) => part.length > PART_BYTES_MAX)) {
      throw this.#refuse(`entry "${shown(path)}" has a name of more than ${PART_BYTES_MAX} bytes`);
    }
    return parts.join('/');
  }

  #refuse(why: string): ClusterError {
    return new ClusterError('invalid', `${this.#name} is refused: ${why}`, { hint: 'build the image anew without it' });
  }
}
