/** Which manager to dial next, and when. Pure. Source: swarmkit, agent session backoff and remotes. */
import { ClusterError } from '../common/errors.ts';

const STEP_MS = 100;
const WAIT_MAX_MS = 8_000;
/** So many hints in a row are followed without a wait; more mean that the managers send us round in circles. */
const HINTS_MAX = 3;

/** What is remembered from one attempt to the next. */
export interface Attempts {
  /** The upper bound of the last wait. */
  readonly waitMs: number;
  /** Who is said to lead. */
  readonly hint: string | undefined;
  readonly hintsInARow: number;
}

export const FIRST_ATTEMPT: Attempts = { waitMs: 0, hint: undefined, hintsInARow: 0 };

/** The next address and how long to wait before dialling it. @param random  0 ≤ x < 1 */
export function nextDial(
  known: readonly string[],
  attempts: Attempts,
  random: () => number,
): { readonly address: string | undefined; readonly delayMs: number } {
  if (attempts.hint !== undefined) return { address: attempts.hint, delayMs: 0 };
  const address = known[Math.floor(random() * known.length)];
  return { address, delayMs: Math.floor(random() * attempts.waitMs) };
}

/** After a session that was open: begins anew, but not all agents in the same instant. */
export function afterSession(failure: unknown): Attempts {
  return { waitMs: STEP_MS, hint: leaderIn(failure), hintsInARow: 0 };
}

/** After an attempt that came to nothing. */
export function afterFailure(attempts: Attempts, failure: unknown): Attempts {
  const hint = attempts.hintsInARow < HINTS_MAX ? leaderIn(failure) : undefined;
  return {
    waitMs: hint === undefined ? Math.min(STEP_MS + 2 * attempts.waitMs, WAIT_MAX_MS) : attempts.waitMs,
    hint,
    hintsInARow: hint === undefined ? 0 : attempts.hintsInARow + 1,
  };
}

/** The address that an `unavailable` names as the leader's: the last word of its hint, when that is HOST:PORT. */
function leaderIn(failure: unknown): string | undefined {
  if (!(failure instanceof ClusterError) || failure.code !== 'unavailable') return undefined;
  const word = failure.hint?.split(' ').at(-1) ?? '';
  return /^\S+:\d{1,5}$/.test(word) ? word : undefined;
}
