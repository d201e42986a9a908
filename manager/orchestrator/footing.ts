/** What the ground beneath a task is like: whether its node can be counted on. */
import type { Leader } from '../../common/model/cluster.ts';
import type { Instant, NodeId } from '../../common/model/ids.ts';
import type { Node, NodeStatus } from '../../common/model/node.ts';
import { movesAt } from '../../common/model/silence.ts';
import type { Task } from '../../common/model/task.ts';
import { check, type Stored, type View, type Write } from '../store/store.ts';

/**
 * `shaky`: the node is silent, its tasks stay until then. `drained`: it works, but its tasks have to go.
 * `silent`: it has been silent for longer than the service waits. `gone`: it was removed, or is lost for good.
 */
export type Footing =
  | { readonly kind: 'unbound' }
  | { readonly kind: 'firm' }
  | { readonly kind: 'shaky'; readonly until: Instant }
  | { readonly kind: 'drained'; readonly because: string }
  | { readonly kind: 'silent'; readonly because: string }
  | { readonly kind: 'gone'; readonly because: string };

/** One node as a service sees it. */
export interface Ground {
  readonly node: Stored<Node> | undefined;
  readonly status: Stored<NodeStatus> | undefined;
  readonly footing: Footing;
}

/** How a service judges nodes. */
export interface Patience {
  readonly failoverAfterMs: number;
  readonly leader: Leader | undefined;
  readonly now: Instant;
}

/** Looks at a node once; the same for all tasks of one service on it. */
export function groundOf(view: View, nodeId: NodeId, patience: Patience): Ground {
  const node = view.get('node', nodeId);
  const status = view.get('node-status', nodeId);
  return { node, status, footing: footingOn(nodeId, node?.value, status?.value, patience) };
}

function footingOn(
  nodeId: NodeId,
  node: Node | undefined,
  status: NodeStatus | undefined,
  patience: Patience,
): Footing {
  const name = status === undefined || status.description.hostname === '' ? nodeId : status.description.hostname;
  if (node === undefined) return { kind: 'gone', because: `node ${name} was removed` };
  if (status?.state === 'lost') return { kind: 'gone', because: `node ${name} is lost` };
  const until = status === undefined ? undefined : movesAt(status, patience.failoverAfterMs, patience.leader);
  if (until !== undefined) {
    return until > patience.now ? { kind: 'shaky', until } : { kind: 'silent', because: `node ${name} is unreachable` };
  }
  if (node.availability === 'drain') return { kind: 'drained', because: `node ${name} is drained` };
  return { kind: 'firm' };
}

/** Checks that hold only while the node is as it was seen; for plans that rest on its state. */
export function proofOf(task: Task, ground: Ground | undefined): readonly Write[] {
  if (task.nodeId === undefined || ground === undefined) return [];
  return [
    check('node', task.nodeId, ground.node?.rev ?? 0),
    check('node-status', task.nodeId, ground.status?.rev ?? 0),
  ];
}
