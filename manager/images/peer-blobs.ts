/**
 * Blobs that other managers hold: fetched when somebody asks, and kept ready, so that an image outlives the manager that it
 * was loaded at. In: the image objects of the store. Out: blobs in this manager's own store. It never asks in a circle.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { Queue } from '../../common/iterate.ts';
import type { Manager } from '../../common/model/cluster.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { isOwnTrouble } from '../../common/oci/disk.ts';
import { retry } from '../../common/retry.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import type { Images } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';
import type { Batch, Store } from '../store/store.ts';

/** A manager that may have a blob; `rpcChannel(address, …).service(Images)` is one. */
export type BlobPeer = Pick<Client<typeof Images>, 'fetchBlob'>;

export interface PeerBlobsOptions {
  readonly blobs: BlobStore;
  readonly store: Store;
  /** This manager, which is not asked. */
  readonly managerId: Manager['id'];
  /** A connection to another manager; may be given again and again. */
  readonly peer: (address: string) => BlobPeer;
}

/** Between two living managers; one that is away is asked again when it comes back. */
const COPY_RETRY = { firstMs: 200, maxMs: 2_000, tries: 4, jitter: 0.5 } as const;

/** A disk that was full may have room by then. */
export const COPY_AGAIN_MS = 60_000;

export class PeerBlobs {
  readonly #options: PeerBlobsOptions;
  readonly #fetches = new SingleFlight<Digest, void>();

  constructor(options: PeerBlobsOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the blob is here, proved.
   * @throws ClusterError `not_found` when no manager has it, `unavailable` when one that may have it does not answer
   */
  async fetch(digest: Digest, signal: AbortSignal): Promise<void> {
    await this.#fetches.run(digest, (shared) => this.#fetchFromPeers(digest, shared), signal);
  }

  /** Copies what the cluster's images name and this manager lacks: now, whenever images or managers change, and a while after it failed. */
  async keepCopies(clock: Clock, log: Logger, signal: AbortSignal): Promise<void> {
    // Subscribed before the first look, so that nothing falls in between.
    const changes = this.#options.store.changes(signal);
    const looks = new Queue<'look'>(1, signal);
    let later = (): void => {};
    const look = async (): Promise<void> => {
      for await (const _ of looks) {
        later();
        const isWhole = await this.#copyMissing(clock, log, signal);
        if (!isWhole) later = clock.after(COPY_AGAIN_MS, () => looks.push('look'));
      }
    };
    looks.push('look');
    const looking = look();
    // Waited for below.
    looking.catch(() => undefined);
    try {
      for await (const batch of changes) if (matters(batch)) looks.push('look');
    } finally {
      looks.end();
      await looking.finally(() => later());
    }
  }

  /** False when something could not be had. */
  async #copyMissing(clock: Clock, log: Logger, signal: AbortSignal): Promise<boolean> {
    const { store, blobs } = this.#options;
    let isWhole = true;
    for (const { value: image } of [...store.view.all('image')]) {
      try {
        for (const digest of image.blobs) {
          if (await blobs.has(digest)) continue;
          await retry(() => this.fetch(digest, signal), { clock, signal, ...COPY_RETRY });
        }
      } catch (cause) {
        signal.throwIfAborted();
        isWhole = false;
        log.warn({ image: image.reference, cause }, 'image cannot be copied from another manager');
      }
    }
    return isWhole;
  }

  async #fetchFromPeers(digest: Digest, signal: AbortSignal): Promise<void> {
    const { store, managerId, blobs, peer } = this.#options;
    const others = [...store.view.all('manager')].filter(({ value }) => value.id !== managerId);
    let unreachable: ClusterError | undefined;
    for (const { value } of others) {
      try {
        const source = (offset: number): AsyncIterable<Uint8Array> =>
          chunksOf(peer(value.address).fetchBlob({ digest, offset, local: true }, { signal }));
        await blobs.fill({ digest }, source, signal);
        return;
      } catch (cause) {
        signal.throwIfAborted();
        const error = toClusterError(cause);
        if (isOwnTrouble(error)) throw error;
        if (error.code !== 'not_found') unreachable = error;
      }
    }
    if (unreachable === undefined) throw absentBlob(digest);
    throw new ClusterError('unavailable', `blob ${digest} cannot be had from another manager: ${unreachable.message}`, {
      hint: 'it is tried again',
      cause: unreachable,
    });
  }
}

function matters(batch: Batch | 'resync'): boolean {
  if (batch === 'resync') return true;
  return batch.changes.some(({ kind, after }) => (kind === 'image' || kind === 'manager') && after !== undefined);
}

async function* chunksOf(messages: AsyncIterable<{ readonly chunk: Uint8Array }>): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of messages) yield chunk;
}

/** Nobody has it, and nobody who is away is known to. */
export function absentBlob(digest: Digest): ClusterError {
  return new ClusterError('not_found', `no manager has blob ${digest}`, {
    hint: 'load the image again: covey image load FILE',
  });
}
