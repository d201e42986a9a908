/**
 * Writes what the cluster sees of its nodes when a session begins, ends or reports. In: a session's words. Out: a
 * node-status through the reign. Transitions only: what says nothing new is not written.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Instant, NodeId } from '../../common/model/ids.ts';
import type { NodeDescription, NodeStatus } from '../../common/model/node.ts';
import { isSame } from '../orchestrator/dirty.ts';
import { check, put, type Reign, type Store } from '../store/store.ts';

/** Between attempts after a conflict (our view is behind by milliseconds) and while etcd does not answer. */
const PAUSE_MS = 10;
const OUTAGE_PAUSE_MS = 250;
/** What `node ls` says of a node that has left. */
const LEFT = 'it has left the cluster';

export interface SelfReport {
  readonly description: NodeDescription;
  /** Empty = well. */
  readonly unfit: string;
}

type Next = (before: NodeStatus | undefined, now: Instant) => NodeStatus | undefined;

export class NodeStatuses {
  readonly #store: Store;
  readonly #reign: Reign;
  readonly #clock: Clock;

  constructor(store: Store, reign: Reign, clock: Clock) {
    this.#store = store;
    this.#reign = reign;
    this.#clock = clock;
  }

  /** A session has begun. @throws ClusterError `denied` when the node has been removed */
  ready(nodeId: NodeId, report: SelfReport, signal: AbortSignal): Promise<void> {
    const { epoch } = this.#reign;
    return this.#write(
      nodeId,
      (before, now) => ({
        nodeId,
        state: 'ready',
        since: before?.state === 'ready' ? before.since : now,
        message: '',
        epoch,
        description: report.description,
        unfit: report.unfit,
      }),
      signal,
    );
  }

  /** The self-test or the description has changed. */
  report(nodeId: NodeId, report: SelfReport, signal: AbortSignal): Promise<void> {
    return this.#write(nodeId, (before) => (before === undefined ? undefined : { ...before, ...report }), signal);
  }

  /** The node leaves the cluster for good: nobody waits for it, its tasks move at once. */
  left(nodeId: NodeId, report: SelfReport, signal: AbortSignal): Promise<void> {
    const { epoch } = this.#reign;
    return this.#write(
      nodeId,
      // It may have been told from elsewhere on the host: what it was known as stays.
      (before, now) => ({
        ...(before ?? { nodeId, description: report.description, unfit: report.unfit }),
        state: 'lost',
        since: now,
        silentSince: now,
        message: LEFT,
        epoch,
      }),
      signal,
    );
  }

  /**
   * The session has ended. Goes on trying until it is written, the reign ends or `isBack` says that another session of
   * the node has begun.
   */
  async suspect(nodeId: NodeId, message: string, isBack: () => boolean): Promise<void> {
    const since = this.#clock.now();
    const next: Next = (before) => {
      if (before?.state !== 'ready' || isBack()) return undefined;
      return { ...before, state: 'suspect', since, silentSince: since, message };
    };
    while (!this.#reign.lost.aborted) {
      try {
        return await this.#write(nodeId, next, this.#reign.lost);
      } catch (cause) {
        // Removed, or no longer ours to say: there is nothing left to write.
        if (cause instanceof ClusterError && cause.code === 'denied') return;
        if (this.#reign.lost.aborted) return;
        await this.#clock.sleep(OUTAGE_PAUSE_MS, this.#reign.lost).catch(() => {});
      }
    }
  }

  async #write(nodeId: NodeId, next: Next, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { view } = this.#store;
      const node = view.get('node', nodeId);
      if (node === undefined) throw removed(nodeId);
      const before = view.get('node-status', nodeId);
      const after = next(before?.value, this.#clock.now());
      if (after === undefined || isSame(after, before?.value)) return;
      const unit = [check('node', nodeId, node.rev), put('node-status', nodeId, after, before?.rev ?? 0)];
      const [result] = await this.#reign.commit([unit], signal);
      if (result?.kind === 'done') return await this.#store.reached(result.revision, signal);
      if (result?.kind === 'lost') throw new ClusterError('unavailable', 'this manager has just lost the lead');
      await this.#clock.sleep(PAUSE_MS, signal);
    }
  }
}

/** What a node hears that the cluster does not know, or no longer. */
export function removed(nodeId: NodeId): ClusterError {
  return new ClusterError('denied', `node "${nodeId}" is not in the cluster: it never joined or has been removed`, {
    field: 'node',
    hint: 'let it join anew: covey-agent leave --force, then covey-agent join',
  });
}
