/** Runs a container's health command until the container ends, and says how it is. Nothing follows from it, as with Docker. */
import type { Clock } from '../../common/clock.ts';
import { isAbort } from '../../common/lifecycle.ts';
import type { Log } from '../../common/log.ts';
import type { Instant } from '../../common/model/ids.ts';
import type { HealthCheck } from '../../common/model/service.ts';
import type { ImageConfig } from '../../common/oci/config.ts';
import { afterProbe, type HealthState, newHealth, probeDelayMs } from '../health/health-state.ts';
import { probe } from '../health/monitor.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ContainerRecord } from './record.ts';

/** Watches a container that was just started by its own rule or its image's; undefined when neither has one. */
export function healthOf(
  { id, startedAt, spec }: ContainerRecord,
  image: Pick<ImageConfig, 'health'>,
  tools: HealthTools,
): HealthWatch | undefined {
  const { health } = spec.template.container;
  const check = health.kind === 'command' ? health.check : health.kind === 'image' ? image.health : undefined;
  return check === undefined ? undefined : new HealthWatch({ id, startedAt }, check, tools);
}

export interface HealthTools {
  readonly runtime: Pick<Runtime, 'exec'>;
  readonly clock: Clock;
  readonly log: Log;
}

export class HealthWatch {
  readonly #stop = new AbortController();
  #state: HealthState;

  constructor(watched: { readonly id: string; readonly startedAt: Instant }, check: HealthCheck, tools: HealthTools) {
    this.#state = newHealth(watched.startedAt, 'starting');
    this.#run(watched.id, check, tools).catch((cause: unknown) => {
      if (!isAbort(cause, this.#stop.signal))
        tools.log.warn({ containerId: watched.id, cause }, 'health is not watched');
    });
  }

  get verdict(): HealthState['verdict'] {
    return this.#state.verdict;
  }

  end(): void {
    this.#stop.abort();
  }

  async #run(id: string, check: HealthCheck, tools: HealthTools): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await tools.clock.sleep(probeDelayMs(this.#state, check, tools.clock.now()), signal);
      const result = await probe(id, check, tools, signal);
      this.#state = afterProbe(this.#state, check, { ...result, finishedAt: tools.clock.now() });
    }
  }
}
