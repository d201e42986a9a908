/** The node that a user's call is for. */
import { createHash } from 'node:crypto';
import { ClusterError } from '../../common/errors.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { findNode } from '../control/lookup.ts';
import { nodeNameOf } from '../control/names.ts';
import { type NodePicture, pictureOfNode } from '../control/nodes.ts';
import type { View } from '../store/store.ts';

export interface RelayTarget {
  readonly nodeId: NodeId;
  /** For people, like the next two. */
  readonly nodeName: string;
  /** What cannot be reached when the node cannot: `task "web.1"`. */
  readonly what: string;
  /** What nobody knows when the node breaks off: `how the command ended`. */
  readonly lost: string;
}

/**
 * The node of that id, hostname or id prefix; without one, the ready and active node with the most memory that no task has
 * reserved; with an affinity, of all that have half as much and more the one that calls of the same affinity went to before, as long as
 * the nodes are the same.
 *
 * @throws ClusterError `not_found`, `invalid` when several match, `unavailable` when there is no node to choose or the
 *   named one is lost
 */
export function nodeTarget(view: View, ref: string, affinity = ''): RelayTarget {
  const nodeId = ref === '' ? roomiest(view, affinity) : findNode(view, ref).value.id;
  const nodeName = nodeNameOf(view, nodeId);
  if (view.get('node-status', nodeId)?.value.state === 'lost') {
    throw new ClusterError('unavailable', `node ${nodeName} is down`, { field: 'node', hint: 'see `covey node ls`' });
  }
  return { nodeId, nodeName, what: `node "${nodeName}"`, lost: 'how it ended' };
}

function roomiest(view: View, affinity: string): NodeId {
  const fit = [...view.all('node')]
    .map((node) => pictureOfNode(view, node))
    .filter(({ node, status }) => status?.state === 'ready' && node.value.availability === 'active' && !status.unfit);
  const [best] = fit.toSorted((a, b) => freeOf(b) - freeOf(a) || (a.node.value.id < b.node.value.id ? -1 : 1));
  if (best !== undefined && affinity === '') return best.node.value.id;
  if (best !== undefined) {
    const roomy = fit.filter((each) => freeOf(each) * 2 >= freeOf(best)).map(({ node }) => node.value.id);
    return roomy.toSorted((a, b) => (rank(affinity, a) > rank(affinity, b) ? -1 : 1))[0] as NodeId;
  }
  throw new ClusterError('unavailable', 'no node is ready and active', { field: 'node', hint: 'see `covey node ls`' });
}

/** Rendezvous hashing: a node that comes or goes moves only what is its own. */
function rank(affinity: string, nodeId: NodeId): string {
  return createHash('sha256').update(`${affinity} ${nodeId}`).digest('hex');
}

function freeOf({ status, reservedMemoryBytes }: NodePicture): number {
  return (status?.description.memoryBytes ?? 0) - reservedMemoryBytes;
}
