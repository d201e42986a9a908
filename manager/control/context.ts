/** What the verbs of Control need of the world; built once in serve.ts. */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, type ErrorCode } from '../../common/errors.ts';
import type { Flaw } from '../../common/model/spec-flaw.ts';
import type { CommitResult, Store, Unit } from '../store/store.ts';

export interface Context {
  readonly store: Store;
  readonly clock: Clock;
}

/** A verb's plan that lost a race is made anew so often: our view is milliseconds behind, never seconds. */
const ATTEMPTS_MAX = 100;
const PAUSE_MS = 10;
/** How long a version from another manager may take to reach this one. */
const CATCH_UP_MS = 3_000;

/**
 * Commits one unit and waits until this manager's view shows it. On a conflict `plan` is asked again, on a newer view,
 * so it must read everything anew and throw when its errand has become impossible.
 */
export async function commitUnit(context: Context, plan: () => Unit, signal: AbortSignal): Promise<number> {
  const { store, clock } = context;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const results: readonly CommitResult[] = await store.commit([plan()], signal);
    const result = results[0];
    if (result?.kind === 'done') {
      await store.reached(result.revision, signal);
      return result.revision;
    }
    await clock.sleep(PAUSE_MS, signal);
  }
  throw new ClusterError('conflict', 'others kept changing the same objects', { hint: 'try again' });
}

/** Waits, but not for ever, until the view has the version that another manager answered with. */
export async function caughtUp(context: Context, version: number, signal: AbortSignal): Promise<void> {
  const { store, clock } = context;
  if (version <= store.view.revision) return;
  const late = new AbortController();
  const cancel = clock.after(CATCH_UP_MS, () => late.abort());
  try {
    await store.reached(version, AbortSignal.any([signal, late.signal]));
  } catch (cause) {
    // A version nobody ever gave out: the caller's comparison says so in better words.
    if (!late.signal.aborted || signal.aborted) throw cause;
  } finally {
    cancel();
  }
}

/** The flaw as an error. */
export function refusal(flaw: Flaw, code: ErrorCode = 'invalid'): ClusterError {
  return new ClusterError(code, flaw.message, { field: flaw.field, hint: flaw.hint });
}
