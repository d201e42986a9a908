/**
 * The leader's end of all agents' sessions. In: sessions, their reports and acks, the store's changes. Out: assignments,
 * task statuses and node statuses. Everything it holds besides the store is learned again by a successor from the
 * sessions themselves; it must never decide what runs where.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import type { Instant, NodeId } from '../../common/model/ids.ts';
import { fromNodeDescription } from '../../common/wire/node.ts';
import { fromTaskStatus } from '../../common/wire/task.ts';
import type { covey } from '../../proto/messages.ts';
import type { ClaimKeeper } from '../control/claim-keeper.ts';
import type { Swarms } from '../mesh/swarms.ts';
import type { Change, Reign, Store } from '../store/store.ts';
import { assignmentSet } from './assignments.ts';
import { Departures } from './departures.ts';
import { NodeStatuses, removed, type SelfReport } from './node-statuses.ts';
import { doubtAll, doubtOf, EMPTY, nextPicture, type Picture } from './picture.ts';
import { Reports } from './reports.ts';
import { type ManagerMessage, Session } from './session.ts';

type AgentMessage = covey.v1.IAgentMessage;

/** Assignments go out at most once in so long a time: changes gather meanwhile. The first after a quiet time does not wait. */
export const COALESCE_MS = 5;
/** Registrations of one node within the window; more are refused. Source: swarmkit dispatcher, rate limit. */
export const REGISTRATIONS_MAX = 3;
export const REGISTRATION_WINDOW_MS = 8_000;
/** Reports of one session that may wait for the store; its acks wait behind them. */
const REPORTS_IN_FLIGHT = 32;

export interface DispatcherOptions {
  readonly store: Store;
  readonly reign: Reign;
  /** Told what nodes say of their blobs. */
  readonly swarms: Pick<Swarms, 'heard' | 'left'>;
  /** Told what nodes say of their containers without a service. */
  readonly claims: Pick<ClaimKeeper, 'heard'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Test switch: see assignments.ts. */
  readonly skipDrain: boolean;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #statuses: NodeStatuses;
  readonly #reports: Reports;
  readonly #departures = new Departures();
  readonly #sessions = new Map<NodeId, Session>();
  readonly #registrations = new Map<NodeId, readonly Instant[]>();
  readonly #stop = new AbortController();
  #picture: Picture = EMPTY;
  #number = 0;
  #changes: Change[] | 'all' = 'all';
  #coalescing: (() => void) | undefined;
  #flushedAt: Instant = 0;
  #cancelDeadline: () => void = () => {};

  constructor(options: DispatcherOptions) {
    const { store, reign, clock } = options;
    this.#options = options;
    this.#statuses = new NodeStatuses(store, reign, clock);
    this.#reports = new Reports(store, reign, clock);
  }

  /** The nodes whose sessions are open, by the time their certificates end (0 = unknown). */
  get sessions(): ReadonlyMap<NodeId, Session> {
    return this.#sessions;
  }

  /** Follows the store until `signal` is aborted or the reign is lost; then all sessions end. */
  async run(signal: AbortSignal): Promise<void> {
    const ending = AbortSignal.any([signal, this.#options.reign.lost]);
    const changes = this.#options.store.changes(ending);
    this.#flush();
    try {
      for await (const batch of changes) {
        if (batch === 'resync') this.#changes = 'all';
        else if (this.#changes !== 'all') this.#changes.push(...batch.changes);
        for (const change of batch === 'resync' ? [] : batch.changes) this.#notice(change);
        this.#soon();
      }
    } finally {
      this.#stop.abort();
      this.#coalescing?.();
      this.#cancelDeadline();
      const passed = new ClusterError('unavailable', 'the lead has passed to another manager', {
        hint: 'ask the others',
      });
      for (const session of this.#sessions.values()) session.end(passed);
    }
  }

  /**
   * One agent's session, until it ends. The first message must be a Hello.
   * @throws ClusterError `denied` for a node that is not in the cluster, `unavailable` when it registers too often
   */
  async *session(
    nodeId: NodeId,
    messages: AsyncIterable<AgentMessage>,
    signal: AbortSignal,
  ): AsyncIterable<ManagerMessage> {
    const incoming = messages[Symbol.asyncIterator]();
    const hello = (await incoming.next()).value?.hello;
    if (hello === null || hello === undefined) {
      throw new ClusterError('invalid', `node "${nodeId}" did not begin its session with a hello`);
    }
    const report: SelfReport = { description: fromNodeDescription(hello.description ?? {}), unfit: hello.unfit ?? '' };
    this.#admit(nodeId);
    const ending = AbortSignal.any([signal, this.#stop.signal]);
    if (hello.leaving === true) {
      await this.#statuses.left(nodeId, report, ending);
      this.#options.log.info({ nodeId }, 'node left');
      yield { welcome: this.#welcome(nodeId) };
      return;
    }
    const session = this.#open(nodeId, ending);
    session.certificateExpiresAt = hello.certificateExpiresAt ?? 0;
    try {
      await this.#statuses.ready(nodeId, report, ending);
      this.#options.log.info({ nodeId, hostname: report.description.hostname }, 'node registered');
      this.#read(session, incoming, report).then(
        () => session.end(undefined),
        (cause: unknown) => session.end(toClusterError(cause)),
      );
      yield { welcome: this.#welcome(nodeId) };
      yield* session.messages();
    } finally {
      session.end(undefined);
      this.#closed(session);
    }
  }

  /** Sends to a node's session; false when it has none. */
  send(nodeId: NodeId, message: ManagerMessage): boolean {
    const session = this.#sessions.get(nodeId);
    session?.send(message);
    return session !== undefined;
  }

  #admit(nodeId: NodeId): void {
    const { store, clock } = this.#options;
    const now = clock.now();
    const revoked = store.view.get('cluster', 'default')?.value.revoked ?? {};
    if (store.view.get('node', nodeId) === undefined || Object.hasOwn(revoked, nodeId)) throw removed(nodeId);
    const recent = (this.#registrations.get(nodeId) ?? []).filter((at) => at > now - REGISTRATION_WINDOW_MS);
    if (recent.length >= REGISTRATIONS_MAX) {
      throw new ClusterError('unavailable', `node "${nodeId}" registers too often`, {
        hint: `at most ${REGISTRATIONS_MAX} times in ${REGISTRATION_WINDOW_MS / 1_000} s`,
      });
    }
    this.#registrations.set(nodeId, [...recent, now]);
  }

  #open(nodeId: NodeId, signal: AbortSignal): Session {
    const { store, reign } = this.#options;
    const session = new Session({
      nodeId,
      epoch: reign.epoch,
      view: () => store.view,
      newest: () => ({ set: this.#setOf(nodeId), number: this.#number }),
      onProgress: () => this.#progress(),
      signal,
    });
    this.#sessions.get(nodeId)?.end(new ClusterError('conflict', `another session of node "${nodeId}" has begun`));
    this.#sessions.set(nodeId, session);
    return session;
  }

  #closed(session: Session): void {
    const { nodeId } = session;
    if (this.#sessions.get(nodeId) !== session) return;
    this.#sessions.delete(nodeId);
    this.#options.swarms.left(nodeId);
    this.#progress();
    // A manager that goes does not make its nodes silent: their next leader gives them a window of its own.
    if (this.#stop.signal.aborted) return;
    this.#options.log.warn({ nodeId }, 'node session ended');
    this.#statuses
      .suspect(nodeId, 'its session ended', () => this.#sessions.has(nodeId) || this.#stop.signal.aborted)
      .catch((cause: unknown) => this.#options.log.error({ nodeId, err: cause }, 'cannot note a silent node'));
  }

  async #read(session: Session, incoming: AsyncIterator<AgentMessage>, first: SelfReport): Promise<void> {
    const flying: Promise<void>[] = [];
    let last = first;
    for (let next = await incoming.next(); next.done !== true; next = await incoming.next()) {
      const { report, ack, node, blobs, containers } = next.value;
      if (ack) session.ack(ack.revision ?? 0);
      if (blobs) this.#options.swarms.heard(session.nodeId, blobs);
      if (containers) this.#options.claims.heard(session.nodeId, containers);
      if (node) {
        const description = node.description ? fromNodeDescription(node.description) : last.description;
        last = { description, unfit: node.unfit ?? '' };
        if (node.certificateExpiresAt) session.certificateExpiresAt = node.certificateExpiresAt;
        await this.#statuses.report(session.nodeId, last, this.#stop.signal);
      }
      if (report) {
        flying.push(this.#store(session, report, flying.at(-1)));
        if (flying.length > REPORTS_IN_FLIGHT) await flying.shift();
      }
    }
  }

  /** Acks go out in the order of the reports. A failure ends the session, so the agent reports all again. */
  async #store(session: Session, report: covey.v1.IReport, before: Promise<void> | undefined): Promise<void> {
    try {
      const statuses = (report.statuses ?? []).map((status) => fromTaskStatus({ ...status, nodeId: session.nodeId }));
      await this.#reports.stored(session.nodeId, statuses);
      await before;
      session.send({ reportAck: { sequence: report.sequence ?? 0 } });
    } catch (cause) {
      session.end(toClusterError(cause));
    }
  }

  #welcome(nodeId: NodeId): covey.v1.Welcome.$Properties {
    const { store, reign } = this.#options;
    return {
      epoch: reign.epoch,
      nodeId,
      managers: [...store.view.all('manager')].map(({ value }) => value.address),
      failoverAfterMs: store.view.get('cluster', 'default')?.value.failoverAfterMs ?? 0,
    };
  }

  #setOf(nodeId: NodeId) {
    const { store, skipDrain } = this.#options;
    return assignmentSet(store.view, nodeId, {
      picture: this.#picture,
      released: this.#departures.released,
      skipDrain,
    });
  }

  /** What cannot wait for the next assignments. */
  #notice(change: Change): void {
    if (change.kind === 'node' && change.after === undefined) {
      this.#sessions.get(change.id as NodeId)?.end(removed(change.id as NodeId));
    }
    if (change.kind === 'manager') {
      for (const session of this.#sessions.values()) session.send({ welcome: this.#welcome(session.nodeId) });
    }
  }

  /** A session has followed, or has gone: somebody may be free to leave now. */
  #progress(): void {
    if (this.#departures.waiting > 0) this.#soon();
  }

  #soon(): void {
    if (this.#stop.signal.aborted) return;
    const { clock } = this.#options;
    // A clock that was set back must not hold assignments up.
    const waitMs = Math.min(Math.max(this.#flushedAt + COALESCE_MS - clock.now(), 0), COALESCE_MS);
    this.#coalescing ??= clock.after(waitMs, () => {
      this.#coalescing = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    const { store, clock } = this.#options;
    const { view } = store;
    this.#flushedAt = clock.now();
    const changes = this.#changes;
    this.#changes = [];
    const picture = nextPicture(
      view,
      this.#picture,
      changes === 'all' ? doubtAll(view, this.#picture) : doubtOf(changes, view),
    );
    const touched = changes === 'all' ? 'all' : nodesOf(changes);
    const shared = picture !== this.#picture;
    this.#picture = picture;
    const upcoming = this.#number + 1;
    this.#departures.follow(view, changes, { number: upcoming, at: clock.now() });
    const freed = this.#departures.free(view, this.#sessions, clock.now());
    this.#watchDeadline();
    if (!shared && touched !== 'all' && touched.size === 0 && freed.size === 0) return;
    this.#number = upcoming;
    for (const [nodeId, session] of this.#sessions) {
      if (shared || touched === 'all' || touched.has(nodeId) || freed.has(nodeId)) session.stir();
      else session.pass(upcoming);
    }
  }

  #watchDeadline(): void {
    this.#cancelDeadline();
    const now = this.#options.clock.now();
    const at = this.#departures.deadlineAfter(now);
    if (at === undefined || this.#stop.signal.aborted) return;
    this.#cancelDeadline = this.#options.clock.after(at - now, () => this.#soon());
  }
}

/** Nodes whose own tasks or block may differ after these changes. */
function nodesOf(changes: readonly Change[]): ReadonlySet<NodeId> {
  const nodes = new Set<NodeId>();
  for (const change of changes) {
    if (change.kind === 'node') nodes.add(change.id as NodeId);
    if (change.kind !== 'task') continue;
    for (const task of [change.before, change.after]) if (task?.nodeId !== undefined) nodes.add(task.nodeId);
  }
  return nodes;
}
