/** Whole objects of the domain with defaults: tests state only what matters to them. */
import type { Cluster } from '../../common/model/cluster.ts';
import type { NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Node, NodeDescription, NodeStatus } from '../../common/model/node.ts';
import {
  type ContainerTemplate,
  DEFAULT_RESTART,
  DEFAULT_UPDATE,
  type Service,
  type ServiceRevision,
  type ServiceSpec,
  type TaskTemplate,
} from '../../common/model/service.ts';
import type { ReportedState, Task, TaskStatus } from '../../common/model/task.ts';

export const GIB = 1024 ** 3;
export const MIB = 1024 ** 2;
export const CPU = 1_000_000_000;

/** A cluster with blocks of 253 containers. */
export function aCluster(change: Partial<Cluster> = {}): Cluster {
  return {
    id: 'cluster',
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
    ...change,
  };
}

/** An active worker; without a block unless given one. */
export function aNode(id: string, change: Partial<Node> = {}): Node {
  return { id: id as NodeId, availability: 'active', role: 'worker', labels: {}, createdAt: 0, ...change };
}

/** 4 cpus, 8 GiB, amd64. */
export function aDescription(hostname: string, change: Partial<NodeDescription> = {}): NodeDescription {
  return {
    hostname,
    address: '192.0.2.1',
    mac: '02:00:00:00:00:01',
    os: 'linux',
    arch: 'amd64',
    nanoCpus: 4 * CPU,
    memoryBytes: 8 * GIB,
    version: '1',
    meshPort: 0,
    ...change,
  };
}

/** A ready node's status. */
export function aNodeStatus(id: string, change: Partial<NodeStatus> = {}): NodeStatus {
  return {
    nodeId: id as NodeId,
    state: 'ready',
    since: 0,
    message: '',
    epoch: { incarnation: 1, reign: 1 },
    description: aDescription(id),
    unfit: '',
    ...change,
  };
}

export const CONTAINER: ContainerTemplate = {
  image: 'web:1',
  env: [],
  labels: {},
  readOnly: false,
  stopGraceMs: 10_000,
  health: { kind: 'none' },
  startTimeoutMs: 60_000,
  drainMs: 0,
};

/** A template without limits, reservations or constraints. */
export function aTemplate(change: Partial<TaskTemplate> = {}): TaskTemplate {
  return {
    container: CONTAINER,
    limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
    reservations: { nanoCpus: 0, memoryBytes: 0 },
    restart: DEFAULT_RESTART,
    placement: { constraints: [], maxReplicasPerNode: 0 },
    forceUpdate: 0,
    ...change,
  };
}

/** One replica with Docker's defaults. */
export function aSpec(name: string, change: Partial<ServiceSpec> = {}): ServiceSpec {
  return {
    name,
    labels: {},
    template: aTemplate(),
    mode: { kind: 'replicated', replicas: 1 },
    update: DEFAULT_UPDATE,
    rollback: DEFAULT_UPDATE,
    ports: [],
    ...change,
  };
}

/** At its first revision. */
export function aService(id: string, spec: ServiceSpec, change: Partial<Service> = {}): Service {
  return {
    id: id as ServiceId,
    spec,
    revision: 1,
    lastRevision: 1,
    rolledBack: false,
    createdAt: 0,
    updatedAt: 0,
    ...change,
  };
}

/** What the tasks of the service's revision in force are made from. */
export function aRevision(service: Service, change: Partial<ServiceRevision> = {}): ServiceRevision {
  const { name, template, ports, failoverAfterMs } = service.spec;
  const revision = { serviceId: service.id, number: service.revision, serviceName: name, template, ports, ...change };
  return failoverAfterMs === undefined ? revision : { failoverAfterMs, ...revision };
}

/** A task's report in this state. */
export function aTaskStatus(task: Task, state: ReportedState, change: Partial<TaskStatus> = {}): TaskStatus {
  return {
    taskId: task.id as TaskId,
    nodeId: task.nodeId as NodeId,
    state,
    at: 0,
    appliedAt: 0,
    message: '',
    oomKilled: false,
    healthy: state === 'running',
    runs: [],
    ...change,
  };
}
