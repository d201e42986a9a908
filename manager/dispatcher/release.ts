/**
 * When a leaving task may drain and stop: as soon as every node that sends it connections has said that it no longer
 * does (docs/task-life.md, "Leaving"). PURE.
 */
import type { Instant } from '../../common/model/ids.ts';

/** A node in session that does not answer for so long is no longer waited for. */
export const RELEASE_WAIT_MS = 2_000;

/** A node with a session, by the numbers of the assignments. */
export interface Witness {
  /** Up to this number it has been sent whatever concerns it. */
  readonly compared: number;
  /** The last one in which there was something. 0 = nothing yet. */
  readonly sent: number;
  /** The last one it stands at. */
  readonly acked: number;
}

/** When a task was first out of the maps. */
export interface Departure {
  readonly number: number;
  readonly at: Instant;
}

/** The instant from which no node in session is waited for. */
export function deadlineOf(departure: Departure): Instant {
  return departure.at + RELEASE_WAIT_MS;
}

/**
 * True when the task may go.
 * @param awaited  nodes of an earlier reign that have not come back yet, but may still send it connections
 */
export function mayGo(departure: Departure, witnesses: Iterable<Witness>, awaited: number, now: Instant): boolean {
  if (awaited > 0) return false;
  if (now >= deadlineOf(departure)) return true;
  for (const witness of witnesses) if (!hasNoticed(departure, witness)) return false;
  return true;
}

function hasNoticed({ number }: Departure, { compared, sent, acked }: Witness): boolean {
  return compared >= number && (acked >= number || acked >= sent);
}
