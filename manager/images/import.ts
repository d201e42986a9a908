/**
 * A root file system's tar as an archive of one image. Comes in: the tar, plain or gzip, and what its containers are to be
 * like. Goes out: what `docker save` would hold of it, laid down in a private folder; judged like any other archive.
 */
import { createHash } from 'node:crypto';
import { open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import { digestOf } from '../../common/oci/digest.ts';
import { diskError } from '../../common/oci/disk.ts';
import { inflated } from '../../common/oci/inflate.ts';
import { PLATFORM } from '../../common/oci/platform.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { type Archive, type ArchiveLimits, type StagedFile, stagingFolder } from './archive.ts';

export interface ImportWish {
  /** NAME[:TAG] */
  readonly reference: string;
  /** JSON: the image config's `config`. */
  readonly config: string;
  /** The step's comment. */
  readonly message: string;
}

const LAYER = 'layer.tar';
const CONFIG = 'config.json';
const IMPORTED = 'the imported tar';

/**
 * Lays it down in a new folder beneath `parent`; the caller removes it (`dir`). On failure nothing is left.
 *
 * @throws ClusterError `invalid` for a reference, config or packing that is none, `exhausted` for a full disk
 */
export async function stageImport(
  wish: ImportWish,
  source: AsyncIterable<Uint8Array>,
  { parent, limits, now }: { readonly parent: string; readonly limits: ArchiveLimits; readonly now: Instant },
  signal: AbortSignal,
): Promise<Archive> {
  const { reference, digest } = parseReference(wish.reference);
  if (digest !== undefined) throw new ClusterError('invalid', `"${wish.reference}" names a digest`, { field: 'image' });
  const config = configOf(wish);
  const dir = await stagingFolder(parent, IMPORTED);
  try {
    const { layer, diffId } = await laid(join(dir, LAYER), source, limits, signal);
    const created = new Date(now).toISOString();
    const text = JSON.stringify({
      architecture: PLATFORM.arch,
      os: PLATFORM.os,
      created,
      config,
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created, comment: wish.message }],
    });
    const path = join(dir, CONFIG);
    await writeFile(path, text, { mode: 0o600, flush: true });
    const file: StagedFile = { path, digest: digestOf(text), size: Buffer.byteLength(text) };
    const list = JSON.stringify([{ Config: CONFIG, RepoTags: [reference], Layers: [LAYER] }]);
    const files = new Map([
      [LAYER, layer],
      [CONFIG, file],
    ]);
    const byDigest = new Map([layer, file].map((each) => [each.digest, each]));
    return { dir, files, byDigest, documents: new Map([['manifest.json', list]]) };
  } catch (cause) {
    await rm(dir, { recursive: true, force: true });
    throw diskError(IMPORTED, cause);
  }
}

/** Whether its fields are sound is found out with the whole image. */
function configOf({ config }: ImportWish): object {
  try {
    const found: unknown = JSON.parse(config === '' ? '{}' : config);
    if (typeof found === 'object' && found !== null && !Array.isArray(found)) return found;
  } catch (cause) {
    throw new ClusterError('invalid', `the image config is no JSON: ${messageOf(cause)}`, { field: 'config', cause });
  }
  throw new ClusterError('invalid', 'the image config is no object', { field: 'config' });
}

async function laid(
  path: string,
  source: AsyncIterable<Uint8Array>,
  limits: ArchiveLimits,
  signal: AbortSignal,
): Promise<{ readonly layer: StagedFile; readonly diffId: Digest }> {
  const name = IMPORTED;
  const packed = createHash('sha256');
  const plain = createHash('sha256');
  const file = await open(path, 'wx', 0o600);
  let size = 0;
  async function* kept(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      signal.throwIfAborted();
      size += chunk.length;
      if (size > limits.bytes) throw new ClusterError('invalid', `${name} has more than ${limits.bytes} bytes`);
      packed.update(chunk);
      await file.writeFile(chunk);
      yield chunk;
    }
  }
  try {
    for await (const chunk of inflated(kept(), name)) plain.update(chunk);
    await file.datasync();
  } finally {
    await file.close();
  }
  if (size === 0) throw new ClusterError('invalid', `${name} is empty`, { hint: 'give a tar of a root file system' });
  const digest = (hash: typeof plain): Digest => `sha256:${hash.digest('hex')}` as Digest;
  return { layer: { path, digest: digest(packed), size }, diffId: digest(plain) };
}
