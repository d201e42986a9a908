/**
 * All of this node's tasks, and its part of the cluster's network.
 *
 * Comes in: what a manager assigns, and what survived on disk and host. Goes out: runners that carry it out, statuses,
 * and a kernel that balances. It refuses what a deposed manager says and what does not follow on what it knows. It never
 * stops a container because there is no manager.
 */
import type { Clock } from '../common/clock.ts';
import { ClusterError } from '../common/errors.ts';
import type { Log } from '../common/log.ts';
import { DEFAULT_FAILOVER_AFTER_MS } from '../common/model/cluster.ts';
import type { Digest, NodeId, TaskId } from '../common/model/ids.ts';
import { compareEpochs, type Epoch } from '../common/model/node.ts';
import { isTerminal, type TaskStatus, taskName } from '../common/model/task.ts';
import { fromEpoch } from '../common/wire/node.ts';
import type { covey } from '../proto/messages.ts';
import type { Assignment, ManagerContact } from './assignment.ts';
import { type ClusterMap, changedMap, EMPTY_MAP, fromAssignment, type KnownNode, servingPorts } from './cluster-map.ts';
import { attachmentOf, noteOf } from './container-request.ts';
import { isStandalone } from './engine/request.ts';
import { HostNetworkKeeper } from './host-network.ts';
import type { Attachment } from './network/network.ts';
import type { RunnerTools } from './runner-tools.ts';
import type { Container } from './runtime/runtime.ts';
import type { AgentState, TaskRecord } from './state.ts';
import { TaskRunner } from './task-runner.ts';

export interface WorkerTools
  extends Pick<RunnerTools, 'nodeId' | 'runtime' | 'images' | 'network' | 'filesFor' | 'connects'> {
  readonly nodeId: NodeId;
  readonly state: AgentState;
  /** IPv4 by which the other hosts reach this one. */
  readonly address: string;
  /** Of containers that are no task's, asked when the network is taken over. */
  readonly otherAttachments?: () => readonly Attachment[];
  /** The host's network was taken over. */
  readonly onNetwork?: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a manager says of the cluster when a session begins, and when it changes. */
export interface ClusterNews {
  readonly epoch: Epoch;
  readonly managers: readonly string[];
  readonly failoverAfterMs: number;
}

export class Worker {
  readonly #tools: WorkerTools;
  readonly #runners = new Map<TaskId, TaskRunner>();
  readonly #network: HostNetworkKeeper;
  /** Containers without a record: removed once a manager has said what belongs here. */
  #orphans: readonly Container[] = [];
  #map: ClusterMap = EMPTY_MAP;
  #epoch: Epoch | undefined;
  #managers: readonly string[] = [];
  #failoverAfterMs = DEFAULT_FAILOVER_AFTER_MS;
  #lostSince: number | undefined;
  /** Of the assignments in this session; undefined before a complete one. */
  #revision: number | undefined;
  #listener: (status: TaskStatus) => void = () => {};

  constructor(tools: WorkerTools) {
    this.#tools = tools;
    this.#network = new HostNetworkKeeper(tools.network, tools.log, tools.onNetwork ?? (() => {}));
    this.#lostSince = tools.clock.now();
  }

  /** The highest epoch ever heard of. */
  get epoch(): Epoch | undefined {
    return this.#epoch;
  }

  /** Managers as last heard, HOST:PORT. */
  get managers(): readonly string[] {
    return this.#managers;
  }

  /** The other nodes of the cluster, as last heard. */
  get peers(): ReadonlyMap<NodeId, KnownNode> {
    return this.#map.peers;
  }

  /** The newest status of every task, in no order. */
  get statuses(): readonly TaskStatus[] {
    return [...this.#runners.values()].flatMap((runner) => (runner.status === undefined ? [] : [runner.status]));
  }

  /** Manifests that must stay on this host. */
  get imagesInUse(): ReadonlySet<Digest> {
    const digests = [...this.#runners.values()].map((runner) => runner.held.revision.template.container.imageDigest);
    return new Set(digests.filter((digest) => digest !== undefined));
  }

  /** The one that is told every new status. */
  listen(listener: (status: TaskStatus) => void): void {
    this.#listener = listener;
  }

  /** Takes up what the last agent left: records, containers, the load balancer. Nothing is restarted. */
  async start(signal: AbortSignal): Promise<void> {
    const { tasks, cluster } = await this.#tools.state.load();
    const containers = await this.#tools.runtime.list(signal);
    this.#epoch = cluster?.epoch;
    this.#managers = cluster?.managers ?? [];
    this.#failoverAfterMs = cluster?.failoverAfterMs ?? DEFAULT_FAILOVER_AFTER_MS;
    this.#map = cluster?.map ?? EMPTY_MAP;
    this.#orphans = containers.filter((container) => !isStandalone(container));
    for (const record of tasks) this.#begin(record);
    this.#tools.log.info({ tasks: tasks.length, containers: containers.length }, 'took up what was here');
    await this.#applyNetwork();
  }

  /** A session is open: from now on a manager decides about restarts. */
  contactGained(): void {
    this.#lostSince = undefined;
    this.#revision = undefined;
    for (const runner of this.#runners.values()) runner.contactChanged();
  }

  /** The session has ended. */
  contactLost(): void {
    this.#lostSince ??= this.#tools.clock.now();
    for (const runner of this.#runners.values()) runner.contactChanged();
  }

  /** @throws ClusterError `conflict` when the manager's epoch is older than one already heard */
  async learn(news: ClusterNews): Promise<void> {
    this.#checkEpoch(news.epoch);
    this.#epoch = news.epoch;
    this.#managers = news.managers;
    this.#failoverAfterMs = news.failoverAfterMs;
    await this.#keepCluster().catch((cause: unknown) => this.#tools.log.warn({ cause }, 'the epoch was not kept'));
  }

  /**
   * Carries a manager's assignments on to the runners and the kernel. Resolves to the revision to acknowledge, when the
   * load balancer stands at it.
   * @throws ClusterError `conflict` when they do not follow on what is known, or come from a deposed manager: the
   *   session is to be ended, the next begins complete
   */
  async apply(message: covey.v1.Assignments.$Properties): Promise<number> {
    this.#checkEpoch(fromEpoch(message.epoch ?? {}));
    const revision = message.revision ?? 0;
    if (message.complete !== true && message.from !== this.#revision) {
      const known = this.#revision ?? 'none';
      throw new ClusterError('conflict', `assignments go from ${message.from} to ${revision}, but ${known} is known`);
    }
    const map = changedMap(this.#map, message);
    const assigned = (message.tasks ?? []).map(fromAssignment);
    const isNew = map !== this.#map;
    this.#map = map;
    for (const held of assigned) this.#take(held);
    if (message.complete === true) this.#keepOnly(new Set(assigned.map((held) => held.task.id)));
    for (const id of message.goneTasks ?? []) this.#runners.get(id as TaskId)?.forget();
    this.#revision = revision;
    if (isNew) {
      this.#keepCluster().catch((cause: unknown) => this.#tools.log.warn({ cause }, 'the cluster map was not kept'));
    }
    await this.#applyNetwork();
    return revision;
  }

  /** This node was removed from the cluster: everything goes, in good order. */
  forgetAll(): void {
    this.#keepOnly(new Set());
  }

  /** This node's part of the cluster's addresses, CIDR; empty = none yet. */
  get block(): string {
    return this.#map.block;
  }

  /** Those of the tasks here. */
  get addresses(): ReadonlySet<string> {
    return new Set([...this.#runners.values()].flatMap(({ held }) => held.task.address ?? []));
  }

  /** Published ports of this node that services have, `8080/tcp`, and whose each is. */
  get portHolders(): ReadonlyMap<string, string> {
    const everywhere = [...this.#map.ports.values()].map(
      ({ published, protocol }) => [`${published}/${protocol}`, 'a service, on every node'] as const,
    );
    const here = [...this.#runners.values()]
      .filter((runner) => runner.isAttached)
      .flatMap(({ held }) => {
        const name = `task ${taskName(held.revision.serviceName, held.task)}`;
        const own = held.revision.ports.filter(({ mode }) => mode === 'host');
        return own.map(({ published, protocol }) => [`${published}/${protocol}`, name] as const);
      });
    return new Map([...everywhere, ...here]);
  }

  /** How many tasks have something here. */
  get size(): number {
    return this.#runners.size;
  }

  /** True for a task that has ended or is not known here: its log grows no more. */
  isOver(taskId: TaskId): boolean {
    const status = this.#runners.get(taskId)?.status;
    return status === undefined ? !this.#runners.has(taskId) : isTerminal(status.state);
  }

  /** Removes the containers of a task that has ended, and their logs; how it ended is still known. False for another. */
  async discard(taskId: TaskId): Promise<boolean> {
    return (await this.#runners.get(taskId)?.discard()) ?? false;
  }

  /** The container in which a task's commands run; undefined when there is none. */
  containerOf(taskId: TaskId): string | undefined {
    return this.#runners.get(taskId)?.containerId;
  }

  /** Lets go of everything and leaves it running. */
  async stop(): Promise<void> {
    for (const runner of this.#runners.values()) runner.stop();
    await this.#network.idle();
    await this.#tools.state.close();
  }

  #checkEpoch(epoch: Epoch): void {
    if (this.#epoch === undefined || compareEpochs(epoch, this.#epoch) >= 0) return;
    const text = ({ incarnation, reign }: Epoch): string => `${incarnation}.${reign}`;
    throw new ClusterError(
      'conflict',
      `a manager of epoch ${text(epoch)} was deposed: this node has heard of ${text(this.#epoch)}`,
    );
  }

  #take(held: Assignment): void {
    const runner = this.#runners.get(held.task.id);
    if (runner === undefined) {
      this.#begin({ held }, 'new');
      return;
    }
    runner.update(held);
    this.#keep({ held: runner.held, ...(runner.status === undefined ? {} : { status: runner.status }) });
  }

  #begin(record: TaskRecord, origin: 'new' | 'kept' = 'kept'): void {
    const { id } = record.held.task;
    const isOurs = (container: Container): boolean => noteOf(container.labels)?.taskId === id;
    const survivors = this.#orphans.filter(isOurs);
    this.#orphans = this.#orphans.filter((container) => !isOurs(container));
    const runner = new TaskRunner(this.#runnerTools(), record, survivors);
    this.#runners.set(id, runner);
    if (origin === 'new') this.#keep(record);
    runner.work().then(
      () => this.#ended(id, runner),
      (cause: unknown) => this.#tools.log.error({ taskId: id, cause }, 'a runner broke off'),
    );
  }

  #ended(id: TaskId, runner: TaskRunner): void {
    if (this.#runners.get(id) === runner) this.#runners.delete(id);
  }

  #keepOnly(wanted: ReadonlySet<TaskId>): void {
    for (const [id, runner] of this.#runners) if (!wanted.has(id)) runner.forget();
    for (const { id } of this.#orphans) {
      this.#tools.log.info({ containerId: id }, 'removing a container that no task owns');
      this.#tools.runtime.remove(id).catch((cause: unknown) => {
        this.#tools.log.warn({ containerId: id, cause }, 'a container could not be removed');
      });
    }
    this.#orphans = [];
  }

  #runnerTools(): RunnerTools {
    const { state, otherAttachments: _others, ...tools } = this.#tools;
    return {
      ...tools,
      contact: () => this.#contact(),
      failoverAfterMs: () => this.#failoverAfterMs,
      keep: (record) => state.keepTask(record),
      drop: (id) => state.dropTask(id),
      onStatus: (status) => this.#onStatus(status),
    };
  }

  #contact(): ManagerContact {
    if (this.#lostSince === undefined) return { kind: 'session' };
    return { kind: 'lost', since: this.#lostSince, failoverAfterMs: this.#failoverAfterMs };
  }

  #onStatus(status: TaskStatus): void {
    this.#listener(status);
    // A task that does not serve any more, or again, moves in and out of this node's own maps at once.
    if (status.state !== 'running' && !isTerminal(status.state)) return;
    this.#applyNetwork().catch((cause: unknown) =>
      this.#tools.log.warn({ cause }, 'the load balancer was not changed'),
    );
  }

  #applyNetwork(): Promise<void> {
    const { block, pool, peers } = this.#map;
    if (block === '' || pool === '') return Promise.resolve();
    return this.#network.bring({
      host: { address: this.#tools.address, block, pool },
      peers: [...peers.values()],
      ports: servingPorts(this.#map, (taskId) => this.#runners.get(taskId)?.serves ?? true),
      attached: () => [...[...this.#runners.values()].flatMap(attachedTo), ...(this.#tools.otherAttachments?.() ?? [])],
    });
  }

  #keep(record: TaskRecord): void {
    this.#tools.state.keepTask(record).catch((cause: unknown) => {
      this.#tools.log.warn({ taskId: record.held.task.id, cause }, 'an assignment was not kept');
    });
  }

  #keepCluster(): Promise<void> {
    return this.#tools.state.keepCluster({
      ...(this.#epoch === undefined ? {} : { epoch: this.#epoch }),
      failoverAfterMs: this.#failoverAfterMs,
      managers: this.#managers,
      map: this.#map,
    });
  }
}

function attachedTo(runner: TaskRunner) {
  const attachment = runner.isAttached ? attachmentOf(runner.held) : undefined;
  return attachment === undefined ? [] : [attachment];
}
