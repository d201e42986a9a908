/**
 * Reads an uploaded image archive. Comes in: the bytes of an OCI layout or of `docker save`, plain or packed. Goes out: its
 * JSON documents and every other file, each in a private folder with its digest. What the files mean is archive-images.ts's
 * business; nothing here is stored for good.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { ClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import { wrongDigest } from '../../common/oci/digest.ts';
import { diskError } from '../../common/oci/disk.ts';
import { bounded, inflated } from '../../common/oci/inflate.ts';
import { HEADER_BYTES } from '../../common/oci/layer.ts';
import { JSON_BYTES_MAX } from '../../common/oci/manifest.ts';
import { shown, type TarEntry, TarReader } from '../../common/oci/tar.ts';
import { contentsOf } from '../../common/oci/tar-contents.ts';

/** A file of the archive, laid down. */
export interface StagedFile {
  readonly path: string;
  readonly digest: Digest;
  readonly size: number;
}

/** Names are as in the archive, without `./`. */
export interface Archive {
  readonly dir: string;
  readonly files: ReadonlyMap<string, StagedFile>;
  /** Files by what they are: an OCI layout finds its blobs by digest. */
  readonly byDigest: ReadonlyMap<Digest, StagedFile>;
  /** `index.json`, `manifest.json`: the documents at the top. */
  readonly documents: ReadonlyMap<string, string>;
}

export interface ArchiveLimits {
  readonly bytes: number;
  readonly entries: number;
}

/** A disk's worth of one upload; a `docker save` of 100 images has some 1,000 entries. */
export const ARCHIVE_LIMITS: ArchiveLimits = { bytes: 64 * 2 ** 30, entries: 20_000 };
/** What the temporary folders are called; leftovers are removed at the start. */
export const STAGING_PREFIX = 'upload-';

const DOCUMENTS = ['index.json', 'manifest.json', 'oci-layout', 'repositories'];
const PIECE_BYTES = 1024 * 1024;
const ARCHIVE = 'the image archive';

/** A new one beneath `parent`. @throws ClusterError `exhausted` for a full disk */
export async function stagingFolder(parent: string, name: string): Promise<string> {
  try {
    return await mkdtemp(join(parent, STAGING_PREFIX));
  } catch (cause) {
    throw diskError(name, cause);
  }
}

/**
 * Lays the archive's files down in a new folder beneath `parent`; the caller removes it (`dir`). On failure nothing is left.
 *
 * @throws ClusterError `invalid` for a broken archive or a blob that is not what its name says, `exhausted` for a full disk
 */
export async function stageArchive(
  source: AsyncIterable<Uint8Array>,
  parent: string,
  limits: ArchiveLimits,
  signal: AbortSignal,
): Promise<Archive> {
  const staging = new Staging(await stagingFolder(parent, ARCHIVE), limits);
  const plainMax = limits.bytes + limits.entries * HEADER_BYTES;
  const plain = bounded(inflated(source, ARCHIVE), plainMax, () => refuse(`unpacks to more than ${plainMax} bytes`));
  const reader = new TarReader(plain, ARCHIVE);
  try {
    for (;;) {
      signal.throwIfAborted();
      const entry = await reader.next();
      if (entry === undefined) break;
      await staging.take(entry, reader, signal);
    }
    return staging.archive();
  } catch (cause) {
    await rm(staging.dir, { recursive: true, force: true });
    throw diskError(ARCHIVE, cause);
  } finally {
    await reader.close();
  }
}

class Staging {
  readonly dir: string;
  readonly #limits: ArchiveLimits;
  readonly #files = new Map<string, StagedFile>();
  readonly #documents = new Map<string, string>();
  /** Old `docker save` writes a layer once and links the others to it. */
  readonly #links = new Map<string, string>();
  #entries = 0;
  #bytes = 0;

  constructor(dir: string, limits: ArchiveLimits) {
    this.dir = dir;
    this.#limits = limits;
  }

  async take(entry: TarEntry, reader: TarReader, signal: AbortSignal): Promise<void> {
    this.#entries += 1;
    this.#bytes += entry.size;
    if (this.#entries > this.#limits.entries) throw refuse(`has more than ${this.#limits.entries} entries`);
    if (this.#bytes > this.#limits.bytes) throw refuse(`unpacks to more than ${this.#limits.bytes} bytes`);
    const name = posix.normalize(entry.path).replace(/^\/+/, '');
    if (name === '..' || name.startsWith('../') || entry.path.includes('\0')) {
      throw refuse(`has the entry "${shown(entry.path)}", which leaves it by ".."`);
    }
    if (entry.kind === 'symlink' || entry.kind === 'hardlink') {
      const base = entry.kind === 'symlink' ? posix.dirname(name) : '';
      this.#links.set(name, posix.normalize(posix.join(base, entry.link)));
    }
    if (entry.kind !== 'file') return;
    if (DOCUMENTS.includes(name)) this.#documents.set(name, await readDocument(name, entry, reader));
    else this.#files.set(name, await this.#lay(name, contentsOf(reader, entry, PIECE_BYTES), signal));
  }

  archive(): Archive {
    for (const [name, target] of this.#links) {
      const file = this.#files.get(target);
      if (file !== undefined && !this.#files.has(name)) this.#files.set(name, file);
    }
    const byDigest = new Map([...this.#files.values()].map((file) => [file.digest, file]));
    return { dir: this.dir, files: this.#files, byDigest, documents: this.#documents };
  }

  async #lay(name: string, contents: AsyncIterable<Buffer>, signal: AbortSignal): Promise<StagedFile> {
    // Never the archive's own names: they are not to be trusted, and numbers cannot collide.
    const path = join(this.dir, String(this.#entries));
    const hash = createHash('sha256');
    let size = 0;
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const piece of contents) {
        signal.throwIfAborted();
        hash.update(piece);
        size += piece.length;
        await file.writeFile(piece);
      }
      await file.datasync();
    } finally {
      await file.close();
    }
    const digest = `sha256:${hash.digest('hex')}` as Digest;
    const claimed = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
    if (claimed !== undefined && `sha256:${claimed}` !== digest) {
      throw wrongDigest({ name: `blob sha256:${claimed}`, digest: `sha256:${claimed}` as Digest }, digest);
    }
    return { path, digest, size };
  }
}

async function readDocument(name: string, entry: TarEntry, reader: TarReader): Promise<string> {
  if (entry.size > JSON_BYTES_MAX) throw refuse(`has a ${name} of ${entry.size} bytes`);
  const pieces: Buffer[] = [];
  for await (const piece of contentsOf(reader, entry, PIECE_BYTES)) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

function refuse(why: string): ClusterError {
  return new ClusterError('invalid', `${ARCHIVE} ${why}`, { hint: 'export the image again' });
}
