/** Which mark (and routing table) stands for which ingress host. Pure. */
import type { NodeId } from '../../common/model/ids.ts';
import { MARK_BASE, MARKS_MAX } from './owned.ts';

/** Node id -> number from 1. Kept on disk: tracked connections carry marks across a restart of the agent. */
export type MarkNumbers = Readonly<Record<NodeId, number>>;

/** Hosts that are gone keep their number for so many others, so that an old connection's mark is not soon another host's. */
const REMEMBERED_MAX = 4_096;

/** The numbers of `nodes`: those they had, new ones for the others. Gone nodes stay remembered up to a bound, oldest out first. */
export function numberPeers(known: MarkNumbers, nodes: readonly NodeId[]): MarkNumbers {
  const present = new Set<string>(nodes);
  const entries = Object.entries(known);
  const surplus = Math.max(0, entries.length + nodes.filter((id) => known[id] === undefined).length - REMEMBERED_MAX);
  const dropped = new Set(
    entries
      .filter(([id]) => !present.has(id))
      .slice(0, surplus)
      .map(([id]) => id),
  );
  const kept = entries.filter(([id]) => !dropped.has(id));
  const numbers: Record<NodeId, number> = Object.fromEntries(kept);
  const taken = new Set(kept.map(([, number]) => number));
  let last = kept.reduce((highest, [, number]) => Math.max(highest, number), 0);
  for (const id of nodes) {
    if (numbers[id] !== undefined) continue;
    do last = (last % MARKS_MAX) + 1;
    while (taken.has(last));
    numbers[id] = last;
    taken.add(last);
  }
  return numbers;
}

/** Mark and routing table of a number. */
export function markOf(number: number): number {
  return MARK_BASE + number;
}
