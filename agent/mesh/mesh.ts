/**
 * How blobs come to this host and from it to others: in pieces, from whichever node has them, from the managers what nobody
 * has (ADR 0022). In: a blob to be brought. Out: its bytes in their order while they arrive, then the whole blob in the
 * store. It never gives or hands over a piece that is not proved.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { untilAborted } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import type { Digest } from '../../common/model/ids.ts';
import { type BlobStore, readFrom } from '../../common/oci/blob-store.ts';
import { checkedList, countOf, cutOf, lengthOf, type PieceList, PieceSet } from '../../common/oci/cut.ts';
import { wrongDigest } from '../../common/oci/digest.ts';
import { isOwnTrouble } from '../../common/oci/disk.ts';
import { Throttle } from '../../common/throttle.ts';
import { Download, type Member } from './download.ts';
import { Giver } from './exchange.ts';
import { listFrom } from './link.ts';
import { Membership, type SwarmServer } from './membership.ts';
import type { Nodes } from './nodes.ts';
import { PieceFile, type PieceSource } from './piece-file.ts';

export interface MeshTools {
  /** Managers, best first; asked anew for each call. Empty = none reachable. */
  readonly servers: () => readonly SwarmServer[];
  readonly nodes: Pick<Nodes, 'connect' | 'isNear' | 'memory' | 'self'>;
  /** All other nodes of the cluster that give pieces: asked when no manager answers. */
  readonly others: () => readonly Pick<Member, 'id' | 'address'>[];
  /** False for a node that is not of the cluster, as far as this one knows. */
  readonly isMember: (nodeId: string) => boolean;
  /** Bytes a second; 0 = as fast as it goes. */
  readonly uploadRate: number;
  readonly downloadRate: number;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

/** Pieces given at once: whole ones after one another, so that others can hand them on soon. */
const UPLOADS_MAX = 4;
/** Nodes that are asked for a blob when no manager can tell who has it. */
const ASKED_MAX = 16;

/** Takes the blob's bytes in their order; what it throws ends the bringing. */
type Use = (bytes: AsyncIterable<Uint8Array>) => Promise<void>;

interface Wanted {
  readonly digest: Digest;
  /** Absent only for manifests. */
  readonly size?: number;
}

interface KnownList {
  readonly list: PieceList;
  /** Whose word it is; undefined: a manager's. */
  readonly by?: string;
}

export class Mesh {
  readonly #blobs: BlobStore;
  readonly #tools: MeshTools;
  readonly #arriving = new Map<Digest, PieceFile>();
  readonly #liars = new Set<string>();
  readonly #downloads: Throttle;
  readonly #giver: Giver;

  constructor(blobs: BlobStore, tools: MeshTools) {
    this.#blobs = blobs;
    this.#tools = tools;
    const { clock, uploadRate, downloadRate } = tools;
    this.#downloads = new Throttle({ clock, bytesPerSecond: downloadRate, atOnce: 1 });
    this.#giver = new Giver({
      sourceOf: (digest) => this.#sourceOf(digest),
      hashesOf,
      isMember: tools.isMember,
      memory: tools.nodes.memory,
      uploads: new Throttle({ clock, bytesPerSecond: uploadRate, atOnce: UPLOADS_MAX }),
      clock,
    });
  }

  /** The service for other nodes. */
  get handlers(): Giver['handlers'] {
    return this.#giver.handlers;
  }

  /**
   * Brings a blob into the store, and hands its bytes to `use` as they become contiguous. Resolves when the blob is whole,
   * proved, in the store, and `use` has ended well. What has arrived is kept for the next call when it fails.
   * One call at a time for a digest, of blobs that are not in the store.
   *
   * @throws ClusterError `unavailable` | `not_found` when nobody gives it, `invalid` for a corrupt one, `exhausted` for a
   *   full disk; what `use` throws
   */
  async bring(blob: Wanted, use: Use, signal: AbortSignal): Promise<void> {
    const { digest } = blob;
    const stop = new AbortController();
    const ending = AbortSignal.any([signal, stop.signal]);
    let download: Download | undefined;
    const { servers, clock } = this.#tools;
    const membership = new Membership({ blob, servers, clock, onNews: () => download?.stir() });
    const taking = membership.run(stop.signal);
    try {
      const known = await this.#listOf(blob, membership, ending);
      const path = this.#blobs.piecesPath(digest);
      const file = await PieceFile.open(`blob ${digest}`, path, known.list, ending);
      download = this.#downloadOf(digest, file, membership, known);
      this.#arriving.set(digest, file);
      await this.#fill({ digest, file, known, download, use }, ending);
    } finally {
      this.#arriving.delete(digest);
      stop.abort(new ClusterError('unavailable', `blob ${digest} was brought, or given up`));
      await taking;
    }
  }

  async #fill(
    {
      digest,
      file,
      known,
      download,
      use,
    }: { digest: Digest; file: PieceFile; known: KnownList; download: Download; use: Use },
    signal: AbortSignal,
  ): Promise<void> {
    const over = new AbortController();
    const ending = AbortSignal.any([signal, over.signal]);
    const used = use(file.bytes(ending)).catch((cause: unknown) => {
      over.abort(cause);
      throw cause;
    });
    used.catch(() => undefined);
    try {
      await download.run(ending);
      if (known.by !== undefined) await proved(digest, file, ending);
      await used;
      await this.#blobs.adopt(this.#blobs.piecesPath(digest), digest);
      file.moved(this.#blobs.path(digest));
      await file.close();
    } catch (cause) {
      const error = toClusterError(cause);
      file.fail(cause);
      over.abort(cause);
      await used.catch(() => undefined);
      if (known.by !== undefined && error.code === 'invalid') this.#liars.add(known.by);
      // Corrupt bytes would make every resumption fail, and a full disk needs the room.
      if (error.code === 'invalid' || isOwnTrouble(error)) await file.discard();
      else await file.close();
      throw cause;
    }
  }

  #downloadOf(digest: Digest, file: PieceFile, membership: Membership, known: KnownList): Download {
    const { nodes, clock, log, random, others } = this.#tools;
    const strangers = known.by === undefined ? [] : sample(others(), ASKED_MAX, random);
    return new Download({
      self: nodes.self,
      digest,
      file,
      members: () => {
        const { members } = membership;
        return members.length > 0 ? members : strangers.map((each) => ({ ...each, isWhole: false }));
      },
      isNear: (address) => nodes.isNear(address),
      connect: (member) => nodes.connect(member),
      origin: membership,
      liars: this.#liars,
      downloads: this.#downloads,
      clock,
      log,
      random,
    });
  }

  /** By a manager's word, or by that of another node when no manager has the blob or none answers. */
  async #listOf(blob: Wanted, membership: Membership, signal: AbortSignal): Promise<KnownList> {
    let failure: ClusterError | undefined;
    try {
      const list = await untilAborted(membership.list, signal);
      if (list !== undefined) return { list };
    } catch (cause) {
      signal.throwIfAborted();
      failure = toClusterError(cause);
    }
    const { others, nodes, clock, random } = this.#tools;
    const members = membership.members.length > 0 ? membership.members : sample(others(), ASKED_MAX, random);
    for (const member of members.filter(({ id }) => !this.#liars.has(id))) {
      const { server, close } = nodes.connect(member);
      try {
        const list = await listFrom(server, blob.digest, { clock, signal });
        return { list: checkedList(list, blob.size ?? list.size), by: member.id };
      } catch (cause) {
        signal.throwIfAborted();
        failure ??= toClusterError(cause);
      } finally {
        close();
      }
    }
    throw failure ?? new ClusterError('not_found', `nobody has blob ${blob.digest}`);
  }

  async #sourceOf(digest: Digest): Promise<PieceSource | undefined> {
    const arriving = this.#arriving.get(digest);
    if (arriving !== undefined) return arriving;
    const size = await this.#blobs.sizeOf(digest);
    return size === undefined ? undefined : await wholeSource(this.#blobs, digest, size);
  }
}

/** Open until it is released: a piece then costs one read. */
async function wholeSource(blobs: BlobStore, digest: Digest, size: number): Promise<PieceSource> {
  const cut = cutOf(size);
  const file = await blobs.open(digest);
  return {
    ...cut,
    list: undefined,
    has: PieceSet.whole(countOf(cut)),
    lengthOf: (index) => lengthOf(cut, index),
    read: (index, bytes) => readFrom(file, index * cut.pieceBytes, bytes),
    onGained: () => () => {},
    release: () => file.close(),
  };
}

async function hashesOf(source: PieceSource, signal: AbortSignal): Promise<Uint8Array> {
  if (source.list !== undefined) return source.list.hashes;
  const hashes: Buffer[] = [];
  const memory = Buffer.allocUnsafe(source.pieceBytes);
  for (let index = 0; index < source.has.count; index += 1) {
    signal.throwIfAborted();
    hashes.push(
      createHash('sha256')
        .update(await source.read(index, memory.subarray(0, source.lengthOf(index))))
        .digest(),
    );
  }
  return Buffer.concat(hashes);
}

/** What no manager vouches for is proved as a whole. */
async function proved(digest: Digest, file: PieceFile, signal: AbortSignal): Promise<void> {
  const hash = createHash('sha256');
  for await (const bytes of file.bytes(signal)) hash.update(bytes);
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest) throw wrongDigest({ name: `blob ${digest}`, digest }, found);
}

function sample<T>(list: readonly T[], count: number, random: () => number): readonly T[] {
  return list
    .map((value) => ({ value, rank: random() }))
    .toSorted((a, b) => a.rank - b.rank)
    .slice(0, count)
    .map(({ value }) => value);
}
