/** The pieces of this manager's blobs: hashed once, kept in memory as long as somebody may ask again. */
import { createHash } from 'node:crypto';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { cutOf, type PieceList } from '../../common/oci/cut.ts';
import { SingleFlight } from '../../common/single-flight.ts';

/** 32 bytes for each MiB of a blob: lists of some 30 GiB. Oldest are forgotten first. */
const HASHES_BYTES_MAX = 1024 * 1024;

export class PieceLists {
  readonly #blobs: BlobStore;
  readonly #known = new Map<Digest, PieceList>();
  readonly #hashing = new SingleFlight<Digest, PieceList>();
  #bytes = 0;

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
  }

  /** @throws ClusterError `not_found` when the blob is not here */
  async of(digest: Digest, signal: AbortSignal): Promise<PieceList> {
    return this.#known.get(digest) ?? (await this.#hashing.run(digest, (shared) => this.#hash(digest, shared), signal));
  }

  async #hash(digest: Digest, signal: AbortSignal): Promise<PieceList> {
    const cut = cutOf((await this.#blobs.sizeOf(digest)) ?? 0);
    const hashes: Buffer[] = [];
    let hash = createHash('sha256');
    let room = cut.pieceBytes;
    for await (const chunk of this.#blobs.read(digest)) {
      signal.throwIfAborted();
      for (let rest = chunk; rest.length > 0; ) {
        const part = rest.subarray(0, room);
        rest = rest.subarray(part.length);
        hash.update(part);
        room -= part.length;
        if (room > 0) continue;
        hashes.push(hash.digest());
        hash = createHash('sha256');
        room = cut.pieceBytes;
      }
    }
    if (room < cut.pieceBytes) hashes.push(hash.digest());
    const list = { ...cut, hashes: Buffer.concat(hashes) };
    this.#keep(digest, list);
    return list;
  }

  #keep(digest: Digest, list: PieceList): void {
    this.#known.set(digest, list);
    this.#bytes += list.hashes.length;
    for (const [oldest, { hashes }] of this.#known) {
      if (this.#bytes <= HASHES_BYTES_MAX || oldest === digest) return;
      this.#known.delete(oldest);
      this.#bytes -= hashes.length;
    }
  }
}
