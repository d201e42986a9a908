/** Watches a running container for its runner: its end, its readiness and health, and its open connections while it leaves. */
import type { Clock } from '../common/clock.ts';
import { isAbort } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import { type Findings, type MonitorTools, monitor, type Watched } from './health/monitor.ts';
import type { Network } from './network/network.ts';
import type { Exit, Runtime } from './runtime/runtime.ts';

/** While a task drains, its connections are counted so often. */
const DRAIN_POLL_MS = 25;
/** A watch that failed for a reason of ours is begun again after this. */
const REWATCH_MS = 1_000;

export interface WatchTools extends MonitorTools {
  readonly runtime: Pick<Runtime, 'exec' | 'wait'>;
  readonly network: Pick<Network, 'openConnections'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Observer extends Findings {
  /** Last of all. */
  onExit(exit: Exit): void;
  onConnections(open: number): void;
}

/** From `new` until the container ends or `stop` is called. */
export class ContainerWatch {
  readonly #watched: Watched;
  readonly #tools: WatchTools;
  readonly #observer: Observer;
  readonly #stop = new AbortController();

  constructor(watched: Watched, tools: WatchTools, observer: Observer) {
    this.#watched = watched;
    this.#tools = tools;
    this.#observer = observer;
    this.#run((signal) => this.#awaitExit(signal));
    this.#run((signal) => monitor(watched, tools, observer, signal));
  }

  /** From now on connections are counted. */
  drain(): void {
    this.#run((signal) => this.#countConnections(signal));
  }

  /** Ends the watch, not the container. Nothing is told afterwards. */
  end(): void {
    this.#stop.abort();
  }

  #run(task: (signal: AbortSignal) => Promise<void>): void {
    this.#guard(task).catch((cause: unknown) => {
      this.#tools.log.error({ containerId: this.#watched.containerId, cause }, 'watching a container broke off');
    });
  }

  async #guard(task: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        return await task(signal);
      } catch (cause) {
        if (signal.aborted || isAbort(cause, signal)) return;
        this.#tools.log.warn({ containerId: this.#watched.containerId, cause }, 'watching a container failed');
        await this.#tools.clock.sleep(REWATCH_MS, signal).catch(() => {});
      }
    }
  }

  async #awaitExit(signal: AbortSignal): Promise<void> {
    const exit = await this.#tools.runtime.wait(this.#watched.containerId, signal);
    if (signal.aborted) return;
    this.#stop.abort();
    this.#observer.onExit(exit);
  }

  async #countConnections(signal: AbortSignal): Promise<void> {
    for (;;) {
      const open = await this.#tools.network.openConnections(this.#watched.address);
      signal.throwIfAborted();
      this.#observer.onConnections(open);
      if (open === 0) return;
      await this.#tools.clock.sleep(DRAIN_POLL_MS, signal);
    }
  }
}
