/**
 * The Images service, as far as pieces go: lists of a blob's pieces, who has it, and the pieces that nobody has yet. A blob
 * that is not here is fetched from another manager first, as for a whole one.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { type Digest, isDigest, type NodeId } from '../../common/model/ids.ts';
import type { BlobStore } from '../../common/oci/blob-store.ts';
import { countOf, lengthOf, type PieceList, PieceSet } from '../../common/oci/cut.ts';
import { Throttle } from '../../common/throttle.ts';
import type { covey } from '../../proto/messages.ts';
import type { Images } from '../../proto/methods.ts';
import type { Call, Handlers } from '../../proto/rpc.ts';
import { PieceLists } from './piece-lists.ts';
import type { Swarms } from './swarms.ts';

export interface PieceServiceTools {
  readonly blobs: BlobStore;
  readonly swarms: Swarms;
  /** Resolves when the blob is here. @throws ClusterError `not_found` | `unavailable` */
  readonly fetch: (digest: Digest, signal: AbortSignal) => Promise<void>;
  /** Bytes a second given to nodes in pieces; 0 = as fast as it goes. */
  readonly uploadRate: number;
  readonly clock: Clock;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

/** Pieces given at once: whole ones after one another, so that nodes can hand them on soon. */
const UPLOADS_MAX = 4;

/** The handlers of JoinSwarm and TakePiece. */
export function pieceService(tools: PieceServiceTools): Pick<Handlers<typeof Images>, 'joinSwarm' | 'takePiece'> {
  const { blobs, swarms, fetch, clock, random } = tools;
  const lists = new PieceLists(blobs);
  const uploads = new Throttle({ clock, bytesPerSecond: tools.uploadRate, atOnce: UPLOADS_MAX });

  const listOf = async (digest: Digest, signal: AbortSignal): Promise<PieceList> => {
    if (!(await blobs.has(digest))) await fetch(digest, signal);
    return await lists.of(digest, signal);
  };

  return {
    async *joinSwarm(request, call) {
      const { digest, nodeId } = askedBy(request, call);
      let list: PieceList | undefined;
      try {
        list = await listOf(digest, call.signal);
      } catch (cause) {
        call.signal.throwIfAborted();
        // Nodes may still have what no manager has.
        if (toClusterError(cause).code === 'exhausted' || !swarms.isSpread(digest, nodeId)) throw cause;
      }
      let isFirst = true;
      for await (const news of swarms.join(digest, nodeId, list === undefined ? 0 : countOf(list), call.signal)) {
        yield isFirst && list !== undefined ? { ...news, pieces: { ...list } } : news;
        isFirst = false;
      }
    },

    async *takePiece(request, call) {
      const { digest, nodeId } = askedBy(request, call);
      const list = await listOf(digest, call.signal);
      const lacking = new PieceSet(countOf(list), request.lacking);
      const gone = await uploads.turn(call.signal);
      const origin = swarms.originFor(digest, nodeId);
      // Chosen when it is its turn: others have taken theirs meanwhile.
      const spread = { isSpread: swarms.isSpread(digest, nodeId), isUrgent: request.urgent };
      const index = origin?.give(nodeId, lacking, spread, random);
      let isSent = false;
      try {
        if (origin === undefined) {
          throw new ClusterError('conflict', `node ${nodeId} takes no part in the swarm of blob ${digest}`);
        }
        if (index === undefined) return;
        const length = lengthOf(list, index);
        await uploads.pace(length, call.signal);
        yield { index, bytes: await blobs.readAt(digest, index * list.pieceBytes, Buffer.allocUnsafe(length)) };
        isSent = !call.signal.aborted;
      } finally {
        gone();
        if (!isSent && index !== undefined) origin?.takeBack(nodeId, index);
      }
    },
  };
}

function askedBy(
  { digest }: covey.v1.IJoinSwarmRequest,
  { peer }: Call,
): { readonly digest: Digest; readonly nodeId: NodeId } {
  if (peer?.role !== 'worker') throw new ClusterError('denied', 'swarms are for nodes only');
  if (isDigest(digest ?? '')) return { digest: digest as Digest, nodeId: peer.id as NodeId };
  throw new ClusterError('invalid', `"${(digest ?? '').slice(0, 100)}" is not a digest`, { field: 'digest' });
}
