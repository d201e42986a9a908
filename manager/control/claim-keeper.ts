/**
 * Holds claims against what nodes say of their containers. A claim is dropped once its node, asked, knows nothing of the container any
 * more; a container of which there is no claim, because it was forgotten while its node was away, gets one again, or nobody could
 * ever remove it. Only a leader has a keeper; what it missed the nodes' next sessions tell.
 */
import { toClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { covey } from '../../proto/messages.ts';
import { type ContainerParts, claimAgain, dropIfGone } from './containers.ts';

/** What is said of a container that has just been made may come before its claim: our view is milliseconds behind. */
const PAUSE_MS = 1_000;

export interface ClaimKeeperParts extends ContainerParts {
  readonly log: Log;
}

export class ClaimKeeper {
  readonly #parts: ClaimKeeperParts;
  /** Containers that may be gone; at most one for each claim, and one for each that a node says has gone. */
  readonly #doubts = new Set<string>();
  /** Nodes of containers of which there is no claim, by the container's id. */
  readonly #strangers = new Map<string, NodeId>();
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
    const strangers = complete === true ? [...told].filter((id) => view.get('container', id) === undefined) : [];
    for (const id of strangers) this.#strangers.set(id, nodeId);
    if (this.#doubts.size + this.#strangers.size > 0) this.#rung.resolve();
  }

  /** Until `signal` is aborted; rejects with its reason. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await untilAborted(this.#rung.promise, signal);
      await this.#parts.clock.sleep(PAUSE_MS, signal);
      this.#rung = withResolvers();
      const doubts = [...this.#doubts];
      const strangers = [...this.#strangers];
      this.#doubts.clear();
      this.#strangers.clear();
      for (const id of doubts) await this.#tried(id, dropIfGone(this.#parts, id, signal), signal);
      for (const [id, nodeId] of strangers)
        await this.#tried(id, claimAgain(this.#parts, { id, nodeId }, signal), signal);
    }
  }

  async #tried(id: string, work: Promise<void>, signal: AbortSignal): Promise<void> {
    try {
      await work;
    } catch (cause) {
      signal.throwIfAborted();
      // Its node says it again in its next session.
      this.#parts.log.debug({ containerId: id, cause: toClusterError(cause) }, 'a claim could not be proved');
    }
  }
}
