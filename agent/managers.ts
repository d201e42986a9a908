/** Which manager to dial next, and when. Pure. Source: swarmkit, agent session backoff and remotes. */
import { ClusterError } from '../common/errors.ts';

const STEP_MS = 100;
/** Well below the default failover time: a node must be back before its tasks move when another manager takes the lead. */
const WAIT_MAX_MS = 4_000;
/** So many hints in a row are followed without a wait; more mean that the managers send us round in circles. */
const HINTS_MAX = 3;

/** What is remembered from one attempt to the next. */
export interface Attempts {
  /** The upper bound of the last wait. */
  readonly waitMs: number;
  /** Who is said to lead. */
  readonly hint: string | undefined;
  readonly hintsInARow: number;
  /** Dialled in vain since the last wait. Each known manager has its turn before any is dialled again. */
  readonly tried: readonly string[];
}

export const FIRST_ATTEMPT: Attempts = { waitMs: 0, hint: undefined, hintsInARow: 0, tried: [] };

/** The next address and how long to wait before dialling it. @param random  0 ≤ x < 1 */
export function nextDial(
  known: readonly string[],
  attempts: Attempts,
  random: () => number,
): { readonly address: string | undefined; readonly delayMs: number } {
  if (attempts.hint !== undefined) return { address: attempts.hint, delayMs: 0 };
  const left = known.filter((address) => !attempts.tried.includes(address));
  const choice = left.length > 0 ? left : known;
  const address = choice[Math.floor(random() * choice.length)];
  return { address, delayMs: attempts.tried.length > 0 ? 0 : Math.floor(random() * attempts.waitMs) };
}

/** After a session that was open: begins anew, but not all agents in the same instant. */
export function afterSession(failure: unknown): Attempts {
  return { waitMs: STEP_MS, hint: leaderIn(failure), hintsInARow: 0, tried: [] };
}

/** After an attempt at `address` that came to nothing: the next manager at once, a wait when all have had their turn. */
export function afterFailure(
  attempts: Attempts,
  failure: unknown,
  { address, known }: { readonly address: string; readonly known: readonly string[] },
): Attempts {
  const tried = [...attempts.tried, address];
  const hint = attempts.hintsInARow < HINTS_MAX ? leaderIn(failure) : undefined;
  if (hint !== undefined) return { waitMs: attempts.waitMs, hint, hintsInARow: attempts.hintsInARow + 1, tried };
  if (!known.every((one) => tried.includes(one))) return { ...attempts, hint, hintsInARow: 0, tried };
  const waitMs = Math.min(STEP_MS + 2 * attempts.waitMs, WAIT_MAX_MS);
  return { waitMs, hint, hintsInARow: 0, tried: [] };
}

/** The address that an `unavailable` names as the leader's: the last word of its hint, when that is HOST:PORT. */
function leaderIn(failure: unknown): string | undefined {
  if (!(failure instanceof ClusterError) || failure.code !== 'unavailable') return undefined;
  const word = failure.hint?.split(' ').at(-1) ?? '';
  return /^\S+:\d{1,5}$/.test(word) ? word : undefined;
}
