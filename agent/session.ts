/**
 * The agent's one line to the managers.
 *
 * Comes in: the stream of whichever manager leads. Goes out: assignments to the worker, its acks and reports back, and
 * contact gained or lost. It dials for ever; it never touches a container.
 */
import type { Clock } from '../common/clock.ts';
import { ClusterError, toClusterError } from '../common/errors.ts';
import type { Log } from '../common/log.ts';
import type { Instant } from '../common/model/ids.ts';
import type { NodeDescription } from '../common/model/node.ts';
import type { Identity } from '../common/tls/identity.ts';
import { fromEpoch, toEpoch, toNodeDescription } from '../common/wire/node.ts';
import type { covey } from '../proto/messages.ts';
import { Dispatcher } from '../proto/methods.ts';
import type { RpcChannel } from '../proto/rpc-channel.ts';
import type { IdentityKeeper } from './identity.ts';
import type { LogPublisher } from './logs/publisher.ts';
import { type Attempts, afterFailure, afterSession, FIRST_ATTEMPT, nextDial } from './managers.ts';
import type { HoldingNews, Holdings } from './mesh/holdings.ts';
import { Outbox } from './outbox.ts';
import type { Relays } from './relay/relays.ts';
import type { SelfTest } from './self-test.ts';
import type { Worker } from './worker.ts';

/** A manager that has not welcomed us by then is given up. Source: swarmkit agent, dispatcher RPC timeout. */
const WELCOME_MS = 5_000;
/** Told for so long that this node is not of the cluster any more, its tasks are let go: a mistake has time to be mended. */
export const REMOVED_PATIENCE_MS = 15_000;

export interface SessionTools {
  readonly worker: Worker;
  readonly identity: IdentityKeeper;
  readonly selfTest: SelfTest;
  readonly logs: LogPublisher;
  readonly relays: Relays;
  /** What other nodes may take from this one; undefined: nothing. */
  readonly holdings: Holdings | undefined;
  /** The containers without a service on this host. */
  readonly standalone: StandaloneNews;
  readonly describe: () => NodeDescription;
  readonly dial: (address: string, identity: Identity) => RpcChannel;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

/** What managers are told of containers without a service. */
export interface StandaloneNews {
  /** Of all that are here. */
  readonly ids: readonly string[];
  /** Told of each that went with its end until the returned function is called. */
  onGone(listener: (id: string) => void): () => void;
}

/** One attempt: whether the manager welcomed us, and why it ended. */
interface Ending {
  readonly wasOpen: boolean;
  readonly cause: unknown;
}

export class AgentSession {
  readonly #tools: SessionTools;
  #removedSince: Instant | undefined;
  /** Whose session was last opened. */
  #leader: string | undefined;

  constructor(tools: SessionTools) {
    this.#tools = tools;
  }

  /** Managers, the one that leads first. */
  get leaderFirst(): readonly string[] {
    const { known } = this;
    const leader = this.#leader;
    return leader === undefined ? known : [leader, ...known.filter((address) => address !== leader)];
  }

  /** Any manager's address, for other calls. */
  get anyManager(): string | undefined {
    return this.known[0];
  }

  /** Managers as last heard, else as when this node joined; HOST:PORT. */
  get known(): readonly string[] {
    const { worker, identity } = this.#tools;
    return worker.managers.length > 0 ? worker.managers : identity.current.managers;
  }

  /** Holds a session, and dials again when it ends, until `signal` is aborted; rejects with its reason. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, random } = this.#tools;
    let attempts: Attempts = FIRST_ATTEMPT;
    for (;;) {
      const { known } = this;
      const { address, delayMs } = nextDial(known, attempts, random);
      await clock.sleep(delayMs, signal);
      if (address === undefined) throw new ClusterError('invalid', 'no manager is known', { hint: 'join again' });
      const ending = await this.#attempt(address, signal);
      signal.throwIfAborted();
      log.warn({ address, wasOpen: ending.wasOpen, cause: ending.cause }, 'no session');
      this.#noteRemoval(ending.cause);
      attempts = ending.wasOpen ? afterSession(ending.cause) : afterFailure(attempts, ending.cause, { address, known });
    }
  }

  async #attempt(address: string, signal: AbortSignal): Promise<Ending> {
    const { worker, identity, selfTest, logs, relays, dial, clock } = this.#tools;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const late = clock.after(WELCOME_MS, () =>
      stop.abort(
        new ClusterError('unavailable', `manager ${address} did not welcome this node within ${WELCOME_MS} ms`),
      ),
    );
    const channel = dial(address, identity.current);
    const outbox = new Outbox(clock, stop.signal);
    worker.listen((status) => outbox.report(status));
    const releases = [selfTest, identity].map((source) => source.onChange(() => this.#sendNodeReport(outbox, stop)));
    releases.push(this.#tools.holdings?.onChange((news) => this.#sendHoldings(news, outbox, stop)) ?? (() => {}));
    releases.push(this.#tools.standalone.onGone((id) => this.#sendGone(id, outbox, stop)));
    let wasOpen = false;
    try {
      outbox.send({ hello: this.#hello() });
      const stream = channel.service(Dispatcher).session(outbox.messages, { signal: stop.signal });
      for await (const message of stream) {
        if (message.welcome && !wasOpen) late();
        await this.#take(message, { outbox, channel, isFirst: !wasOpen });
        wasOpen ||= message.welcome !== null && message.welcome !== undefined;
      }
      return { wasOpen, cause: new ClusterError('unavailable', `manager ${address} ended the session`) };
    } catch (cause) {
      return { wasOpen, cause };
    } finally {
      late();
      for (const release of releases) release();
      signal.removeEventListener('abort', onAbort);
      worker.listen(() => {});
      if (wasOpen) worker.contactLost();
      logs.endAll();
      relays.endAll();
      outbox.end();
      stop.abort();
      channel.close();
    }
  }

  async #take(
    message: covey.v1.ManagerMessage,
    { outbox, channel, isFirst }: { outbox: Outbox; channel: RpcChannel; isFirst: boolean },
  ): Promise<void> {
    const { worker, logs, relays, log } = this.#tools;
    const { welcome, assignments, reportAck, logs: request, logsEnd, relay, relayEnd } = message;
    if (welcome) {
      const { managers, failoverAfterMs } = welcome;
      const epoch = fromEpoch(welcome.epoch ?? {});
      await worker.learn({ epoch, managers, failoverAfterMs });
      if (isFirst) {
        this.#removedSince = undefined;
        this.#leader = channel.address;
        log.info({ address: channel.address, epoch }, 'session open');
        outbox.send({ blobs: { complete: true, have: [...(this.#tools.holdings?.all ?? [])] } });
        outbox.send({ containers: { complete: true, ids: [...this.#tools.standalone.ids] } });
        worker.contactGained();
        outbox.open(worker.statuses);
      }
    }
    if (assignments) outbox.send({ ack: { revision: await worker.apply(assignments) } });
    if (reportAck) outbox.acked(reportAck.sequence);
    if (request) logs.begin(request, channel);
    if (logsEnd) logs.end(logsEnd.id);
    if (relay) relays.begin(relay, channel);
    if (relayEnd) relays.end(relayEnd.id ?? '');
  }

  #hello(): covey.v1.Hello.$Properties {
    const { worker, identity, selfTest, describe } = this.#tools;
    return {
      description: toNodeDescription(describe()),
      unfit: selfTest.reason,
      certificateExpiresAt: identity.expiresAt,
      ...(worker.epoch === undefined ? {} : { epoch: toEpoch(worker.epoch) }),
    };
  }

  #sendNodeReport(outbox: Outbox, stop: AbortController): void {
    const { identity, selfTest, describe } = this.#tools;
    try {
      const description = toNodeDescription(describe());
      outbox.send({ node: { unfit: selfTest.reason, description, certificateExpiresAt: identity.expiresAt } });
    } catch (cause) {
      stop.abort(cause);
    }
  }

  /** Before the welcome nothing is told: all of it is then. */
  #sendHoldings({ have, gone }: HoldingNews, outbox: Outbox, stop: AbortController): void {
    try {
      if (outbox.isOpen) outbox.send({ blobs: { have: [...have], gone: [...gone] } });
    } catch (cause) {
      stop.abort(cause);
    }
  }

  #sendGone(id: string, outbox: Outbox, stop: AbortController): void {
    try {
      if (outbox.isOpen) outbox.send({ containers: { ids: [id] } });
    } catch (cause) {
      stop.abort(cause);
    }
  }

  /** A node that was removed must not go on for ever with tasks that run elsewhere by now. */
  #noteRemoval(cause: unknown): void {
    const { worker, clock, log } = this.#tools;
    const error = toClusterError(cause);
    if (error.code !== 'denied' || error.field !== 'node') return;
    const now = clock.now();
    this.#removedSince ??= now;
    if (now - this.#removedSince < REMOVED_PATIENCE_MS || worker.size === 0) return;
    log.error({ tasks: worker.size }, 'this node was removed from the cluster: its tasks are stopped');
    worker.forgetAll();
  }
}
