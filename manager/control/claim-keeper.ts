/**
 * Drops the claims of containers that went with their end. Comes in: what nodes say of their containers. Goes out: fewer claims, each
 * dropped only once its node has said that it knows nothing of the container. Only a leader has one; what it missed the nodes' next
 * sessions tell.
 */
import { toClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { covey } from '../../proto/messages.ts';
import { type ContainerParts, dropIfGone } from './containers.ts';

/** What is said of a container that has just been made may come before its claim: our view is milliseconds behind. */
const PAUSE_MS = 1_000;

export interface ClaimKeeperParts extends ContainerParts {
  readonly log: Log;
}

export class ClaimKeeper {
  readonly #parts: ClaimKeeperParts;
  /** Containers that may be gone; at most one for each claim, and one for each that a node says has gone. */
  readonly #doubts = new Set<string>();
  #rung = withResolvers<void>();

  constructor(parts: ClaimKeeperParts) {
    this.#parts = parts;
  }

  /** What a node says at the beginning of a session, and when a container has gone with its end. */
  heard(nodeId: NodeId, { complete, ids }: covey.v1.ContainerNews.$Properties): void {
    const { view } = this.#parts.store;
    const told = new Set(ids);
    const missing = [...view.all('container')].filter(
      ({ value }) => value.nodeId === nodeId && value.isMade && !told.has(value.id),
    );
    const doubted = complete === true ? missing.map(({ value }) => value.id) : told;
    for (const id of doubted) this.#doubts.add(id);
    if (this.#doubts.size > 0) this.#rung.resolve();
  }

  /** Until `signal` is aborted; rejects with its reason. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await untilAborted(this.#rung.promise, signal);
      await this.#parts.clock.sleep(PAUSE_MS, signal);
      this.#rung = withResolvers();
      const doubts = [...this.#doubts];
      this.#doubts.clear();
      for (const id of doubts) await this.#prove(id, signal);
    }
  }

  async #prove(id: string, signal: AbortSignal): Promise<void> {
    try {
      await dropIfGone(this.#parts, id, signal);
    } catch (cause) {
      signal.throwIfAborted();
      // Its node says it again in its next session.
      this.#parts.log.debug({ containerId: id, cause: toClusterError(cause) }, 'a claim could not be proved');
    }
  }
}
