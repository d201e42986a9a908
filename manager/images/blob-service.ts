/** The Images service: gives blobs to agents and to other managers. */

import { ClusterError } from '../../common/errors.ts';
import { type Digest, isDigest } from '../../common/model/ids.ts';
import type { Images } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import type { Store } from '../store/store.ts';
import { absentBlob, PeerBlobs, type PeerBlobsOptions } from './peer-blobs.ts';

/** As the contract says: at most 1 MiB a message. */
const CHUNK_BYTES = 1024 * 1024;

/**
 * The handler of FetchBlob. A blob that is not here is fetched from another manager, proved and kept before its first
 * byte is given, if any image of the cluster names it. With `local` nobody else is asked.
 */
export function blobService(
  options: PeerBlobsOptions,
  peers: PeerBlobs = new PeerBlobs(options),
): Pick<Handlers<typeof Images>, 'fetchBlob'> {
  return {
    async *fetchBlob({ digest, offset, local }, { signal }) {
      if (!isDigest(digest))
        throw new ClusterError('invalid', `"${digest.slice(0, 100)}" is not a digest`, { field: 'digest' });
      if (!(await options.blobs.has(digest))) {
        if (local) throw absentBlob(digest);
        await fetchNamed(options.store, peers, digest, signal);
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

/** Brings a blob that an image of the cluster names from another manager. @throws as `PeerBlobs.fetch` */
export async function fetchNamed(store: Store, peers: PeerBlobs, digest: Digest, signal: AbortSignal): Promise<void> {
  if (!isNamed(store, digest)) throw absentBlob(digest);
  await peers.fetch(digest, signal);
}

/** Otherwise a caller could make managers fetch, and keep, whatever another one holds. */
function isNamed(store: Store, digest: Digest): boolean {
  for (const { value } of store.view.all('image')) if (value.blobs.includes(digest)) return true;
  return false;
}
