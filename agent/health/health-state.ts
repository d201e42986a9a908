/** Docker's health rules for one container, probe by probe. Pure. Source: Docker reference, HEALTHCHECK; moby daemon/health.go. */
import type { Instant } from '../../common/model/ids.ts';
import type { HealthCheck } from '../../common/model/service.ts';

/** Bytes of a probe's output that are kept. Source: moby daemon/health.go, maxOutputLen. */
export const HEALTH_OUTPUT_MAX_BYTES = 4_096;

export interface HealthState {
  readonly verdict: 'starting' | 'healthy' | 'unhealthy';
  /** Failures in a row that count. */
  readonly failures: number;
  readonly startedAt: Instant;
  /** Of the last probe, trimmed. */
  readonly output: string;
}

export interface ProbeResult {
  readonly passed: boolean;
  readonly output: string;
  readonly finishedAt: Instant;
}

/** Before the first probe. @param verdict  `healthy` for a container that was known to be so by an earlier agent */
export function newHealth(startedAt: Instant, verdict: 'starting' | 'healthy'): HealthState {
  return { verdict, failures: 0, startedAt, output: '' };
}

/** How long to wait from the start, or from the end of the last probe, to the next one. */
export function probeDelayMs(state: HealthState, check: HealthCheck, now: Instant): number {
  const isStarting = state.verdict === 'starting' && now < state.startedAt + check.startPeriodMs;
  return isStarting ? check.startIntervalMs : check.intervalMs;
}

/** Failures of a container that was never healthy do not count within its start period. */
export function afterProbe(state: HealthState, check: HealthCheck, result: ProbeResult): HealthState {
  const output = result.output.trim();
  if (result.passed) return { ...state, verdict: 'healthy', failures: 0, output };
  const isExcused = state.verdict === 'starting' && result.finishedAt < state.startedAt + check.startPeriodMs;
  const failures = isExcused ? state.failures : state.failures + 1;
  return { ...state, verdict: failures >= check.retries ? 'unhealthy' : state.verdict, failures, output };
}

/** The command of a check as an argument list; undefined for `NONE`. */
export function probeCommand(check: HealthCheck): readonly string[] | undefined {
  const [kind, ...rest] = check.test;
  if (kind === 'CMD' && rest.length > 0) return rest;
  return kind === 'CMD-SHELL' ? ['/bin/sh', '-c', rest.join(' ')] : undefined;
}
