/** Why a task has no node: one line for the task, and one per node for who asks. */
import type { Instant, NodeId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import type { View } from '../store/store.ts';
import { BLOCK_FULL, type Refusal, refusalOf } from './filters.ts';
import { candidatesOf } from './group.ts';
import type { Candidate } from './rank.ts';
import { Seats, type Want } from './seats.ts';

/** One node's answer to one task. */
export interface NodeReason {
  readonly nodeId: NodeId;
  /** The host's name, or the id of a node that has never reported one. */
  readonly node: string;
  readonly reason: string;
}

export const NO_REVISION = 'no suitable node (the revision that the task is made from is not in the store)';

/**
 * Why each node refuses the task now, by host name; empty when some node would take it.
 * @param task  any task of the revision in question, bound or not
 * @param now  what the ranking's windows go by; of no weight here
 */
export function explainTask(view: View, task: Task, now: Instant): readonly NodeReason[] {
  const seats = new Seats(view);
  const want = seats.want(task);
  if (want === undefined) return [];
  const reasons: NodeReason[] = [];
  for (const candidate of candidatesOf(view, want, seats, now)) {
    const refusal = refusalNow(want, candidate, seats);
    if (refusal === undefined) return [];
    const { node, facts } = candidate.seat;
    reasons.push({ nodeId: node.value.id, node: facts.hostname || node.value.id, reason: refusal.sentence });
  }
  return reasons.sort((a, b) => (a.node === b.node ? 0 : a.node < b.node ? -1 : 1) || (a.nodeId < b.nodeId ? -1 : 1));
}

/**
 * `no suitable node (insufficient memory on 2 nodes; paused: 1 node)`, the most frequent reason first.
 * @param candidates  all nodes, with what the plan has put on them so far
 */
export function summary(want: Want, candidates: readonly Candidate[], seats: Seats): string {
  const counts = new Map<string, number>();
  for (const candidate of candidates) {
    const { phrase } = refusalNow(want, candidate, seats) ?? BLOCK_FULL;
    counts.set(phrase, (counts.get(phrase) ?? 0) + 1);
  }
  if (counts.size === 0) return 'no suitable node (the cluster has no nodes)';
  const parts = [...counts]
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .map(([phrase, nodes]) => `${phrase} ${nodes} ${nodes === 1 ? 'node' : 'nodes'}`);
  return `no suitable node (${parts.join('; ')})`;
}

function refusalNow(want: Want, { seat, ofService }: Candidate, seats: Seats): Refusal | undefined {
  return refusalOf(want, seat, ofService) ?? (seats.hasAddress(seat) ? undefined : BLOCK_FULL);
}
