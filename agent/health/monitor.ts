/** Watches one running container until it ends: first whether it becomes ready, then whether it stays well. */
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Instant } from '../../common/model/ids.ts';
import type { HealthCheck } from '../../common/model/service.ts';
import { formatDuration } from '../../common/units.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { afterProbe, HEALTH_OUTPUT_MAX_BYTES, newHealth, probeCommand, probeDelayMs } from './health-state.ts';
import { type Connects, waitForPorts } from './port-probe.ts';
import type { ReadinessRule } from './readiness.ts';

export interface Watched {
  readonly containerId: string;
  readonly address: string;
  readonly rule: ReadinessRule;
  readonly startedAt: Instant;
  readonly startTimeoutMs: number;
  /** An earlier agent has seen it ready: only its health is watched. */
  readonly wasReady: boolean;
}

export interface MonitorTools {
  readonly runtime: Pick<Runtime, 'exec'>;
  readonly clock: Clock;
  readonly connects: Connects;
}

/** What the monitor found, in order; `ready` at most once, nothing after `unwell`. */
export interface Findings {
  onReady(): void;
  /** @param why  for people, with the port or the probe's last output */
  onUnwell(why: string): void;
}

/** Resolves when there is nothing left to watch; rejects only with the signal's reason. */
export async function monitor(
  watched: Watched,
  tools: MonitorTools,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const { rule } = watched;
  switch (rule.kind) {
    case 'none':
      return findings.onReady();
    case 'ports': {
      if (watched.wasReady) return findings.onReady();
      const until = watched.startedAt + watched.startTimeoutMs;
      const { clock, connects } = tools;
      const question = { address: watched.address, ports: rule.ports, until, clock, connects };
      const closed = await waitForPorts(question, signal);
      if (closed === undefined) return findings.onReady();
      const limit = formatDuration(watched.startTimeoutMs);
      return findings.onUnwell(`port ${closed}/tcp did not accept connections within ${limit}`);
    }
    case 'command':
      return await watchHealth(watched, rule.check, tools, { findings, signal });
  }
}

async function watchHealth(
  watched: Watched,
  check: HealthCheck,
  tools: MonitorTools,
  { findings, signal }: { readonly findings: Findings; readonly signal: AbortSignal },
): Promise<void> {
  let health = newHealth(watched.startedAt, watched.wasReady ? 'healthy' : 'starting');
  if (watched.wasReady) findings.onReady();
  for (;;) {
    await tools.clock.sleep(probeDelayMs(health, check, tools.clock.now()), signal);
    const result = await probe(watched.containerId, check, tools, signal);
    const before = health.verdict;
    health = afterProbe(health, check, { ...result, finishedAt: tools.clock.now() });
    if (health.verdict === 'unhealthy') return findings.onUnwell(`unhealthy: ${health.output || 'no output'}`);
    if (health.verdict === 'healthy' && before === 'starting') findings.onReady();
  }
}

/** One check. Rejects with the signal's reason only. */
export async function probe(
  containerId: string,
  check: HealthCheck,
  { runtime }: Pick<MonitorTools, 'runtime'>,
  signal: AbortSignal,
): Promise<{ readonly passed: boolean; readonly output: string }> {
  const request = {
    args: probeCommand(check) ?? [],
    env: [],
    timeoutMs: check.timeoutMs,
    outputMaxBytes: HEALTH_OUTPUT_MAX_BYTES,
  };
  try {
    const result = await runtime.exec(containerId, request, signal);
    if (result.timedOut) {
      return { passed: false, output: `health check exceeded its timeout of ${formatDuration(check.timeoutMs)}` };
    }
    return { passed: result.exitCode === 0, output: result.output };
  } catch (cause) {
    signal.throwIfAborted();
    return { passed: false, output: messageOf(cause) };
  }
}
