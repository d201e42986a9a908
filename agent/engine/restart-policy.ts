/**
 * Whether a container without a service runs again after its end, and when. PURE. Source: moby, restartmanager: 100 ms, twice as long each
 * time up to a minute, from the beginning after a run of 10 s.
 */
import type { ContainerSpec } from '../../common/model/container.ts';

const FIRST_DELAY_MS = 100;
/** No restart waits longer. */
export const DELAY_MAX_MS = 60_000;
const STEADY_MS = 10_000;

export interface End {
  readonly exitCode: number;
  readonly ranMs: number;
  /** A user wanted its end. */
  readonly wasStopped: boolean;
  /** Since a user started it, before this end. */
  readonly restarts: number;
  /** Of the restart before; 0 = there was none. */
  readonly lastDelayMs: number;
}

export type Verdict = { readonly kind: 'rest' } | { readonly kind: 'again'; readonly delayMs: number };

/** What follows an end under the spec's policy. */
export function afterEnd({ restart, restartMax }: Pick<ContainerSpec, 'restart' | 'restartMax'>, end: End): Verdict {
  if (end.wasStopped || restart === 'no') return { kind: 'rest' };
  if (restart === 'on-failure') {
    if (end.exitCode === 0) return { kind: 'rest' };
    if (restartMax > 0 && end.restarts >= restartMax) return { kind: 'rest' };
  }
  const isSteady = end.lastDelayMs === 0 || end.ranMs >= STEADY_MS;
  return { kind: 'again', delayMs: isSteady ? FIRST_DELAY_MS : Math.min(end.lastDelayMs * 2, DELAY_MAX_MS) };
}

/**
 * What follows when an agent finds it ended, and its end known already. Source: moby, daemon/restore: for `always` a user's stop does
 * not count any longer.
 */
export function afterReturn(
  spec: Pick<ContainerSpec, 'restart' | 'restartMax'>,
  end: Pick<End, 'exitCode' | 'wasStopped' | 'restarts'>,
): Verdict {
  const wasStopped = end.wasStopped && spec.restart !== 'always';
  return afterEnd(spec, { ...end, wasStopped, ranMs: 0, lastDelayMs: 0 });
}
