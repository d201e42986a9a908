/**
 * Builds views for unit tests in a few words, and renders plans as text. State only what matters to the test.
 *
 * Ids are names: service `web`, node `n1`, the first task of a slot `web.1`, later ones `web.1#2`, made by a plan `new1`.
 */
import type { Cluster } from '../../common/model/cluster.ts';
import type { Instant, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Epoch, Node, NodeStatus } from '../../common/model/node.ts';
import type { Rollout } from '../../common/model/rollout.ts';
import {
  DEFAULT_RESTART,
  DEFAULT_UPDATE,
  type Port,
  type Reservations,
  type RestartPolicy,
  revisionKey,
  type Service,
  type ServiceSpec,
  type TaskTemplate,
  type UpdatePolicy,
} from '../../common/model/service.ts';
import { NO_RESTARTS, type Run, type Task, type TaskStatus } from '../../common/model/task.ts';
import type { Plan, Tick } from '../../manager/reconcile.ts';
import type { Kind, Kinds, View, Write } from '../../manager/store/store.ts';
import { MemoryStore } from './memory-store.ts';

/** What may differ from the defaults of Docker's service create. */
export interface ServiceOptions {
  readonly replicas?: number;
  readonly image?: string;
  readonly restart?: Partial<RestartPolicy>;
  readonly update?: Partial<UpdatePolicy>;
  readonly rollback?: Partial<UpdatePolicy>;
  readonly constraints?: readonly string[];
  readonly reservations?: Partial<Reservations>;
  readonly ports?: readonly Port[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly failoverAfterMs?: number;
  readonly stopGraceMs?: number;
  readonly maxReplicasPerNode?: number;
  readonly revision?: number;
}

export interface TaskOptions extends Partial<Omit<Task, 'id' | 'nodeId'>> {
  /** Default `n1`; '' = not placed. */
  readonly node?: string;
  readonly status?: Partial<TaskStatus>;
  /** When it reached its state; default 0. */
  readonly at?: Instant;
}

const EPOCH: Epoch = { incarnation: 1, reign: 1 };

/** The spec that the options describe. */
export function aSpec(name: string, options: ServiceOptions = {}): ServiceSpec {
  const template: TaskTemplate = {
    container: {
      image: options.image ?? 'ok:1',
      env: [],
      labels: {},
      readOnly: false,
      stopGraceMs: options.stopGraceMs ?? 10_000,
      health: { kind: 'image' },
      startTimeoutMs: 60_000,
      drainMs: 0,
    },
    limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
    reservations: { nanoCpus: 0, memoryBytes: 0, ...options.reservations },
    restart: { ...DEFAULT_RESTART, ...options.restart },
    placement: { constraints: options.constraints ?? [], maxReplicasPerNode: options.maxReplicasPerNode ?? 0 },
    forceUpdate: 0,
  };
  return {
    name,
    labels: options.labels ?? {},
    template,
    mode: { kind: 'replicated', replicas: options.replicas ?? 1 },
    update: { ...DEFAULT_UPDATE, ...options.update },
    rollback: { ...DEFAULT_UPDATE, ...options.rollback },
    ports: options.ports ?? [],
    ...(options.failoverAfterMs === undefined ? {} : { failoverAfterMs: options.failoverAfterMs }),
  };
}

/** A cluster with nodes `n1`, `n2`, … that are ready and active. */
export function cluster(nodes = 3, settings: Partial<Cluster> = {}): ClusterBuilder {
  const builder = new ClusterBuilder(settings);
  for (let number = 1; number <= nodes; number += 1) builder.node(`n${number}`);
  return builder;
}

export class ClusterBuilder {
  readonly store = new MemoryStore();

  constructor(settings: Partial<Cluster>) {
    this.put('cluster', 'default', {
      id: 'c',
      createdAt: 0,
      incarnation: 1,
      ca: { certificate: '', key: '' },
      joinSecret: '',
      certificateLifetimeMs: 1,
      failoverAfterMs: 15_000,
      taskHistory: 5,
      addressPool: '10.64.0.0/12',
      blockBits: 24,
      revoked: {},
      ...settings,
    });
  }

  get view(): View {
    return this.store.view;
  }

  put<K extends Kind>(kind: K, id: string, value: Kinds[K]): this {
    this.store.put(kind, id, value);
    return this;
  }

  /** Changes parts of an object that is there. */
  edit<K extends Kind>(kind: K, id: string, change: Partial<Kinds[K]>): this {
    return this.put(kind, id, { ...this.get(kind, id), ...change });
  }

  delete(kind: Kind, id: string): this {
    this.store.commitNow([[{ op: 'delete', kind, id } as Write]]);
    return this;
  }

  get<K extends Kind>(kind: K, id: string): Kinds[K] {
    const found = this.view.get(kind, id);
    if (found === undefined) throw new Error(`the builder has no ${kind} ${id}`);
    return found.value;
  }

  node(name: string, node: Partial<Node> = {}, status: Partial<NodeStatus> = {}): this {
    const nodeId = name as NodeId;
    const description = { hostname: name, address: '', mac: '', os: 'linux', arch: 'amd64', version: '1', meshPort: 0 };
    this.put('node', name, {
      id: nodeId,
      availability: 'active',
      role: 'worker',
      labels: {},
      createdAt: 0,
      block: blockOf(name),
      ...node,
    });
    return this.put('node-status', name, {
      nodeId,
      state: 'ready',
      since: 0,
      message: '',
      epoch: EPOCH,
      description: { ...description, nanoCpus: 4e9, memoryBytes: 8 * 2 ** 30 },
      unfit: '',
      ...status,
    });
  }

  /** The node has been silent since then; by default it is suspect. */
  silent(name: string, silentSince: Instant, state: NodeStatus['state'] = 'suspect'): this {
    return this.edit('node-status', name, { state, since: silentSince, silentSince });
  }

  drain(name: string): this {
    return this.edit('node', name, { availability: 'drain' });
  }

  service(name: string, options: ServiceOptions = {}): this {
    const spec = aSpec(name, options);
    const revision = options.revision ?? 1;
    const service: Service = {
      id: name as ServiceId,
      spec,
      revision,
      lastRevision: revision,
      rolledBack: false,
      createdAt: 0,
      updatedAt: 0,
    };
    return this.put('service', name, service).#revision(service);
  }

  /** What Control does when a user changes what tasks are made from. */
  update(name: string, options: ServiceOptions): this {
    const before = this.get('service', name);
    const revision = before.lastRevision + 1;
    const service: Service = {
      ...before,
      spec: aSpec(name, { replicas: before.spec.mode.replicas, ...options }),
      previous: { spec: before.spec, revision: before.revision },
      revision,
      lastRevision: revision,
      rolledBack: false,
    };
    return this.put('service', name, service).#revision(service);
  }

  /** Changes the spec in ways that make no task dirty. */
  respec(name: string, change: Partial<ServiceSpec>): this {
    const service = this.get('service', name);
    return this.edit('service', name, { spec: { ...service.spec, ...change } });
  }

  scale(name: string, replicas: number): this {
    return this.respec(name, { mode: { kind: 'replicated', replicas } });
  }

  rollout(name: string, rollout: Partial<Rollout> = {}): this {
    return this.put('rollout', name, {
      serviceId: name as ServiceId,
      target: this.get('service', name).revision,
      state: 'updating',
      startedAt: 0,
      message: 'update in progress',
      total: this.get('service', name).spec.mode.replicas,
      done: [],
      failed: [],
      progressAt: 0,
      ...rollout,
    });
  }

  /** A task `service.slot` or `service.slot#n`, on `n1` unless said. */
  task(id: string, options: TaskOptions = {}): this {
    const [service = '', rest = ''] = id.split('.');
    const { node = 'n1', status, at = 0, ...task } = options;
    this.put('task', id, {
      id: id as TaskId,
      serviceId: service as ServiceId,
      slot: Number.parseInt(rest, 10),
      revision: this.view.get('service', service)?.value.revision ?? 1,
      desired: 'running',
      origin: 'create',
      createdAt: 0,
      desiredAt: 0,
      restarts: NO_RESTARTS,
      ...(node === '' ? {} : { nodeId: node as NodeId, assignedAt: 0 }),
      ...task,
    });
    return status === undefined ? this : this.status(id, { at, ...status });
  }

  /** What the agent says of a task from now on; what is left out stays as it was. */
  status(id: string, status: Partial<TaskStatus>): this {
    const before = this.view.get('task-status', id)?.value;
    const at = status.at ?? 0;
    const fresh = { message: '', oomKilled: false, healthy: true, runs: [] as readonly Run[] };
    return this.put('task-status', id, {
      ...fresh,
      ...before,
      taskId: id as TaskId,
      nodeId: this.get('task', id).nodeId ?? ('n1' as NodeId),
      state: 'running',
      at,
      appliedAt: at,
      ...status,
    });
  }

  /** Runs and is well since `at`. */
  running(id: string, options: TaskOptions = {}): this {
    const at = options.at ?? 0;
    return this.task(id, { ...options, status: { state: 'running', runningAt: at, ...options.status } });
  }

  /** Ran from `since` (default: `at`) and exited with 1 at `at`. */
  failed(id: string, options: TaskOptions & { readonly since?: Instant } = {}): this {
    const { since, ...rest } = options;
    const ran = since === undefined ? {} : { runningAt: since };
    return this.task(id, { ...rest, status: { state: 'failed', exitCode: 1, ...ran, ...options.status } });
  }

  #revision(service: Service): this {
    const { name, template, ports } = service.spec;
    const value = { serviceId: service.id, number: service.revision, serviceName: name, template, ports };
    return this.put('revision', revisionKey(service.id, service.revision), value);
  }
}

/** A tick that names new tasks `new1`, `new2`, … */
export function at(now: Instant): Tick {
  let made = 0;
  return {
    now,
    newTaskId() {
      made += 1;
      return `new${made}` as TaskId;
    },
  };
}

/** A plan as text, one write a line, checks left out, as the tests assert it; an idle plan is ''. */
export function render(view: View, plan: Plan): string {
  const lines = plan.units.flatMap((unit) => unit.flatMap((write) => line(view, write)));
  if (plan.wakeAt !== undefined) lines.push(`wake at ${plan.wakeAt}`);
  return lines.join('\n');
}

function line(view: View, write: Write): readonly string[] {
  if (write.op === 'check') return [];
  if (write.op === 'delete') return [`- ${write.kind === 'task' ? '' : `${write.kind} `}${write.id}`];
  switch (write.kind) {
    case 'task':
      return [taskLine(view.get('task', write.id)?.value, write.value)];
    case 'rollout': {
      const { target, state, done, failed, total, message } = write.value;
      const failures = failed.length === 0 ? '' : ` failed ${failed.map((failure) => failure.taskId).join(' ')}`;
      return [`rollout ${write.id} to r${target}: ${state} ${done.length}/${total}${failures} (${message})`];
    }
    case 'node-status':
      return [`node ${write.id}: ${write.value.state} (${write.value.message})`];
    case 'service':
      return [`service ${write.id}: r${write.value.revision}${write.value.rolledBack ? ' rolled back' : ''}`];
    case 'cluster':
    case 'manager':
    case 'leader':
    case 'login':
    case 'revision':
    case 'task-status':
    case 'node':
    case 'image':
    case 'name':
    case 'container':
      return [`put ${write.kind} ${write.id}`];
  }
}

function taskLine(before: Task | undefined, task: Task): string {
  if (before !== undefined) {
    const because = task.because === undefined || task.because === before.because ? '' : ` (${task.because})`;
    return `~ ${task.id} ${before.desired} -> ${task.desired}${because}`;
  }
  const parts = [`+ ${task.serviceId}.${task.slot} r${task.revision} ${task.desired} [${task.origin}]`];
  if (task.notBefore !== undefined) parts.push(`not before ${task.notBefore}`);
  if (task.replaces !== undefined) parts.push(`after ${task.replaces}`);
  if (task.rollout !== undefined) parts.push(`rollout ${task.rollout}`);
  return parts.join(', ');
}

/** The block of `n7` is 10.64.7.0/24. */
function blockOf(name: string): string {
  return `10.64.${Number.parseInt(name.replace(/\D/g, ''), 10) || 250}.0/24`;
}
