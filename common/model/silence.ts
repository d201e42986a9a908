/** How long a silent node is waited for: one rule for the node's own state and for the tasks on it. */
import type { Leader } from './cluster.ts';
import type { Instant } from './ids.ts';
import type { NodeStatus } from './node.ts';

/** What every node is given to open a session with a new leader before its silence counts (docs/adr/0009). */
export const SILENCE_WINDOW_MS = 10_000;

/**
 * When the silence of a node becomes reason enough to move tasks; undefined while it is heard.
 *
 * A node that was suspect before the leader took over could not have come back to it earlier, so it gets the leader's
 * silence window too.
 */
export function movesAt(status: NodeStatus, failoverAfterMs: number, leader: Leader | undefined): Instant | undefined {
  switch (status.state) {
    case 'ready':
      return undefined;
    case 'suspect': {
      const at = (status.silentSince ?? status.since) + failoverAfterMs;
      const isInherited = leader !== undefined && status.since < leader.since;
      return isInherited ? Math.max(at, leader.since + SILENCE_WINDOW_MS) : at;
    }
    case 'unreachable':
    case 'lost':
      return (status.silentSince ?? status.since) + failoverAfterMs;
  }
}
