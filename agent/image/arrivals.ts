/**
 * How an image's blobs come to this host: small ones whole from a manager, layers in pieces from whoever has them, and
 * unpacked on the way. In: a blob and what takes its bytes. Out: the blob in the store. Without a mesh, in tests of other
 * things, everything comes from the managers.
 */
import { toClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { isOwnTrouble } from '../../common/oci/disk.ts';
import { Turns } from '../../common/turns.ts';
import { Holdings } from '../mesh/holdings.ts';
import { LAYER_MEMORY } from '../mesh/layer-memory.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { BlobToPull, Puller } from './pull.ts';

/** Joining a swarm costs more than such a blob. */
const DIRECT_BYTES = 64 * 1024;

/** Takes the bytes in their order, each chunk good until the next is asked for. What it throws is thrown on. */
type Use = (bytes: AsyncIterable<Uint8Array>) => Promise<void>;

export class Arrivals {
  readonly holdings = new Holdings();
  readonly #blobs: BlobStore;
  readonly #puller: Puller;
  readonly #mesh: Mesh | undefined;
  readonly #busy = new Map<Digest, Turns>();

  constructor(blobs: BlobStore, puller: Puller, mesh: Mesh | undefined) {
    this.#blobs = blobs;
    this.#puller = puller;
    this.#mesh = mesh;
  }

  /** Brings a manifest or config. @throws as `Puller.pull` */
  async document(blob: BlobToPull, signal: AbortSignal): Promise<void> {
    if (await this.#blobs.has(blob.digest)) return;
    try {
      await this.#puller.pull(blob, signal);
    } catch (cause) {
      signal.throwIfAborted();
      const { code } = toClusterError(cause);
      if (this.#mesh === undefined || (code !== 'unavailable' && code !== 'not_found')) throw cause;
      // What no manager gives, another node may have; if not, it is the manager's word that counts.
      await this.#mesh.bring(blob, drain, signal).catch((other: unknown) => {
        signal.throwIfAborted();
        throw isOwnTrouble(other) ? other : cause;
      });
    }
    await this.told();
  }

  /** Brings a layer and hands its bytes to `use`, while they arrive if they have to. */
  async layer(blob: Required<BlobToPull>, use: Use, signal: AbortSignal): Promise<void> {
    // Only a config that lies names one blob for two layers; they must not write one file.
    const turn = this.#busy.get(blob.digest) ?? new Turns(1);
    this.#busy.set(blob.digest, turn);
    try {
      await turn.run(() => this.#layer(blob, use, signal), signal);
    } finally {
      if (turn.isFree) this.#busy.delete(blob.digest);
    }
  }

  async #layer(blob: Required<BlobToPull>, use: Use, signal: AbortSignal): Promise<void> {
    const { digest, size } = blob;
    if (await this.#blobs.has(digest)) {
      try {
        return await use(this.#blobs.read(digest, 0, LAYER_MEMORY));
      } catch (cause) {
        if (toClusterError(cause).code !== 'invalid') throw cause;
        // A machine that lost its power may have kept a blob's name and not its bytes: it is brought anew.
        await this.drop(digest);
      }
    }
    if (this.#mesh !== undefined && size > DIRECT_BYTES) {
      await this.#mesh.bring(blob, use, signal);
      return await this.told();
    }
    await this.document(blob, signal);
    await use(this.#blobs.read(digest, 0, LAYER_MEMORY));
  }

  async drop(digest: Digest): Promise<void> {
    await this.#blobs.remove(digest);
    await this.told();
  }

  /** What is here has changed. */
  async told(): Promise<void> {
    this.holdings.set(await this.#blobs.list());
  }
}

async function drain(bytes: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of bytes);
}
