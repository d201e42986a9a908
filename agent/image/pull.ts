/** Brings blobs from the managers to this host. */
import { ClusterError, toClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { isOwnTrouble } from '../../common/oci/disk.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import type { Images } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';

/** The part of a manager that gives blobs; `rpcChannel(address, …).call(Images)` is one. */
export type BlobServer = Pick<Client<typeof Images>, 'fetchBlob'>;

export interface BlobToPull {
  readonly digest: Digest;
  /** Absent only for manifests, which are asked for by digest alone. */
  readonly size?: number;
}

/** A blob is given up after so many failures without a byte of progress from any manager. */
const FAILURES_MAX = 3;

/** Pulls by digest, resuming where an earlier try ended, from whichever manager answers. */
export class Puller {
  readonly #blobs: BlobStore;
  readonly #servers: () => readonly BlobServer[];
  readonly #pulls = new SingleFlight<Digest, void>();

  /** @param servers  the managers to ask, best first; asked anew for each blob */
  constructor(blobs: BlobStore, servers: () => readonly BlobServer[]) {
    this.#blobs = blobs;
    this.#servers = servers;
  }

  /**
   * Returns when the blob is here, proved.
   *
   * @throws ClusterError `unavailable` when no manager could be asked to the end, `not_found` when every manager lacks it,
   *   `invalid` when what they gave was corrupt, `exhausted` for a full disk
   */
  pull(blob: BlobToPull, signal: AbortSignal): Promise<void> {
    return this.#pulls.run(blob.digest, (shared) => this.#pull(blob, shared), signal);
  }

  async #pull(blob: BlobToPull, signal: AbortSignal): Promise<void> {
    if (await this.#blobs.has(blob.digest)) return;
    const servers = this.#servers();
    const failures: ClusterError[] = [];
    for (let at = 0; failures.length < Math.max(FAILURES_MAX, servers.length) && servers.length > 0; ) {
      const attempt = { got: 0, from: 0 };
      const server = servers[at % servers.length] as BlobServer;
      const source = (offset: number): AsyncIterable<Uint8Array> => {
        attempt.from = offset;
        return counted(fetchFrom(server, blob.digest, offset, signal), (bytes) => {
          attempt.got += bytes;
        });
      };
      try {
        return await this.#blobs.fill(blob, source, signal);
      } catch (cause) {
        signal.throwIfAborted();
        const error = toClusterError(cause);
        // Another manager may have room for what this one was to fetch.
        if (isOwnTrouble(error)) throw error;
        if (attempt.got === 0 || error.code === 'invalid') failures.push(error);
        // Bytes put behind another server's beginning prove nothing against this one: it is asked again, for all of them.
        if (error.code !== 'invalid' || attempt.from === 0) at += 1;
        // Everybody asked and nobody has it: asking again at once tells nothing new.
        if (failures.length >= servers.length && failures.every((each) => each.code === 'not_found')) break;
      }
    }
    throw verdict(blob.digest, failures);
  }
}

/** The error after the last try: what is final only if every manager says so. */
function verdict(digest: Digest, failures: readonly ClusterError[]): ClusterError {
  const last = failures.at(-1);
  if (last === undefined) {
    return new ClusterError('unavailable', `blob ${digest}: no manager is known`, { hint: 'it is tried again' });
  }
  const code = last.code;
  if ((code === 'not_found' || code === 'invalid') && failures.every((each) => each.code === code)) return last;
  return new ClusterError('unavailable', `blob ${digest}: ${last.message}`, { hint: 'it is tried again', cause: last });
}

async function* fetchFrom(
  server: BlobServer,
  digest: Digest,
  offset: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of server.fetchBlob({ digest, offset, local: false }, { signal })) yield chunk;
}

async function* counted(source: AsyncIterable<Uint8Array>, count: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    count(chunk.length);
    yield chunk;
  }
}
