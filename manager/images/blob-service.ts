/** The Images service: gives blobs to agents and to other managers. */

import { ClusterError, toClusterError } from '../../common/errors.ts';
import type { Manager } from '../../common/model/cluster.ts';
import { type Digest, isDigest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import type { Images } from '../../proto/methods.ts';
import type { Client, Handlers } from '../../proto/rpc.ts';
import type { Store } from '../store/store.ts';

/** A manager that may have a blob; `rpcChannel(address, …).call(Images)` is one. */
export type BlobPeer = Pick<Client<typeof Images>, 'fetchBlob'>;

export interface BlobServiceOptions {
  readonly blobs: BlobStore;
  readonly store: Store;
  /** This manager, which is not asked. */
  readonly managerId: Manager['id'];
  /** A connection to another manager; may be given again and again. */
  readonly peer: (address: string) => BlobPeer;
}

/** As the contract says: at most 1 MiB a message. */
const CHUNK_BYTES = 1024 * 1024;

/**
 * The handlers of the service. A blob that is not here is fetched from another manager, proved and kept before its first
 * byte is given, if any image of the cluster names it. With `local` nobody else is asked.
 */
export function blobService(options: BlobServiceOptions): Handlers<typeof Images> {
  const fetches = new SingleFlight<Digest, void>();
  return {
    async *fetchBlob({ digest, offset, local }, { signal }) {
      if (!isDigest(digest))
        throw new ClusterError('invalid', `"${digest.slice(0, 100)}" is not a digest`, { field: 'digest' });
      if (!(await options.blobs.has(digest))) {
        if (local || !isNamed(options.store, digest)) throw absent(digest);
        await fetches.run(digest, (shared) => fetchFromPeers(options, digest, shared), signal);
      }
      const size = (await options.blobs.sizeOf(digest)) ?? 0;
      if (offset < 0 || offset > size) {
        throw new ClusterError('invalid', `blob ${digest} has ${size} bytes, offset ${offset} is not in it`, {
          field: 'offset',
        });
      }
      for await (const chunk of options.blobs.read(digest, offset)) {
        signal.throwIfAborted();
        for (let at = 0; at < chunk.length; at += CHUNK_BYTES) yield { chunk: chunk.subarray(at, at + CHUNK_BYTES) };
      }
    },
  };
}

/** Otherwise a caller could make managers fetch, and keep, whatever another one holds. */
function isNamed(store: Store, digest: Digest): boolean {
  for (const { value } of store.view.all('image')) if (value.blobs.includes(digest)) return true;
  return false;
}

async function fetchFromPeers(options: BlobServiceOptions, digest: Digest, signal: AbortSignal): Promise<void> {
  const others = [...options.store.view.all('manager')].filter(({ value }) => value.id !== options.managerId);
  let unreachable: ClusterError | undefined;
  for (const { value } of others) {
    try {
      const source = (offset: number): AsyncIterable<Uint8Array> =>
        chunksOf(options.peer(value.address).fetchBlob({ digest, offset, local: true }, { signal }));
      await options.blobs.fill({ digest }, source, signal);
      return;
    } catch (cause) {
      signal.throwIfAborted();
      const error = toClusterError(cause);
      if (error.code === 'exhausted') throw error;
      if (error.code !== 'not_found') unreachable = error;
    }
  }
  if (unreachable === undefined) throw absent(digest);
  throw new ClusterError('unavailable', `blob ${digest} cannot be had from another manager: ${unreachable.message}`, {
    hint: 'it is tried again',
    cause: unreachable,
  });
}

async function* chunksOf(messages: AsyncIterable<{ readonly chunk: Uint8Array }>): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of messages) yield chunk;
}

function absent(digest: Digest): ClusterError {
  return new ClusterError('not_found', `no manager has blob ${digest}`, {
    hint: 'load the image again: covey image load FILE',
  });
}
