/** Objects in the shape in which Docker's `inspect` shows them. Source: Docker Engine API 1.47, Service and Node. */

import type { Node, NodeStatus } from '../../common/model/node.ts';
import type { Rollout } from '../../common/model/rollout.ts';
import type { Service, ServiceSpec, UpdatePolicy } from '../../common/model/service.ts';
import { inspectProcess } from './inspect-process.ts';

const NS_PER_MS = 1_000_000;

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function policy(update: UpdatePolicy): object {
  return {
    Parallelism: update.parallelism,
    Delay: update.delayMs * NS_PER_MS,
    FailureAction: update.failureAction,
    Monitor: update.monitorMs * NS_PER_MS,
    MaxFailureRatio: update.maxFailureRatio,
    Order: update.order,
    ProgressDeadline: update.progressDeadlineMs * NS_PER_MS,
  };
}

function container(spec: ServiceSpec): object {
  const { container: c } = spec.template;
  const health = c.health.kind === 'command' ? c.health.check : undefined;
  return {
    Image: c.image,
    ...(c.entrypoint === undefined ? {} : { Command: c.entrypoint }),
    ...(c.args === undefined ? {} : { Args: c.args }),
    ...(c.env.length === 0 ? {} : { Env: c.env }),
    ...(c.workdir === undefined ? {} : { Dir: c.workdir }),
    ...(c.user === undefined ? {} : { User: c.user }),
    ...(c.hostname === undefined ? {} : { Hostname: c.hostname }),
    ...(Object.keys(c.labels).length === 0 ? {} : { Labels: c.labels }),
    ...(c.readOnly ? { ReadOnly: true } : {}),
    ...(c.userns === undefined ? {} : { UsernsMode: c.userns }),
    ...(c.tty ? { TTY: true } : {}),
    ...(c.stopSignal === undefined ? {} : { StopSignal: c.stopSignal }),
    StopGracePeriod: c.stopGraceMs * NS_PER_MS,
    StartTimeout: c.startTimeoutMs * NS_PER_MS,
    Drain: c.drainMs * NS_PER_MS,
    ...(c.process === undefined ? {} : inspectProcess(c.process)),
    ...(c.health.kind === 'none' ? { Healthcheck: { Test: ['NONE'] } } : {}),
    ...(health === undefined
      ? {}
      : {
          Healthcheck: {
            Test: health.test,
            Interval: health.intervalMs * NS_PER_MS,
            Timeout: health.timeoutMs * NS_PER_MS,
            StartPeriod: health.startPeriodMs * NS_PER_MS,
            StartInterval: health.startIntervalMs * NS_PER_MS,
            Retries: health.retries,
          },
        }),
  };
}

function specOf(spec: ServiceSpec): object {
  const { template } = spec;
  return {
    Name: spec.name,
    Labels: spec.labels,
    TaskTemplate: {
      ContainerSpec: container(spec),
      Resources: {
        Limits: {
          NanoCPUs: template.limits.nanoCpus,
          MemoryBytes: template.limits.memoryBytes,
          Pids: template.limits.pids,
          NetworkEgressBits: template.limits.networkEgressBits,
          NetworkIngressBits: template.limits.networkIngressBits,
          StorageBytes: template.limits.storageBytes,
        },
        SwapBytes: template.limits.memorySwapBytes,
        MemorySwappiness: template.limits.memorySwappiness,
        Reservations: { NanoCPUs: template.reservations.nanoCpus, MemoryBytes: template.reservations.memoryBytes },
      },
      RestartPolicy: {
        Condition: template.restart.condition,
        Delay: template.restart.delayMs * NS_PER_MS,
        MaxAttempts: template.restart.maxAttempts,
        Window: template.restart.windowMs * NS_PER_MS,
      },
      ...(template.container.log === undefined
        ? {}
        : { LogDriver: { Name: template.container.log.driver, Options: template.container.log.options } }),
      Placement: { Constraints: template.placement.constraints, MaxReplicas: template.placement.maxReplicasPerNode },
      ForceUpdate: template.forceUpdate,
    },
    Mode: { Replicated: { Replicas: spec.mode.replicas } },
    UpdateConfig: policy(spec.update),
    RollbackConfig: policy(spec.rollback),
    EndpointSpec: { Ports: spec.ports.map(portOf) },
    ...(spec.failoverAfterMs === undefined ? {} : { FailoverAfter: spec.failoverAfterMs * NS_PER_MS }),
  };
}

function portOf(port: ServiceSpec['ports'][number]): object {
  return { Protocol: port.protocol, TargetPort: port.target, PublishedPort: port.published, PublishMode: port.mode };
}

/** A service as `docker service inspect` shows it, with the fields that only Covey has beside Docker's. */
export function inspectService(service: Service, version: number, rollout: Rollout | undefined): object {
  return {
    ID: service.id,
    Version: { Index: version },
    CreatedAt: time(service.createdAt),
    UpdatedAt: time(service.updatedAt),
    Spec: specOf(service.spec),
    ...(service.previous === undefined ? {} : { PreviousSpec: specOf(service.previous.spec) }),
    Endpoint: { Ports: service.spec.ports.map(portOf) },
    ...(rollout === undefined
      ? {}
      : {
          UpdateStatus: {
            State: rollout.state,
            StartedAt: time(rollout.startedAt),
            ...(rollout.completedAt === undefined ? {} : { CompletedAt: time(rollout.completedAt) }),
            Message: rollout.message,
          },
        }),
  };
}

/** Docker's words for a node's state. */
export function nodeStateWord(state: NodeStatus['state'] | undefined): string {
  switch (state) {
    case 'ready':
      return 'ready';
    case 'suspect':
    case undefined:
      return 'unknown';
    case 'unreachable':
    case 'lost':
      return 'down';
  }
}

/** A node as `docker node inspect` shows it. */
export function inspectNode(node: Node, status: NodeStatus | undefined, version: number): object {
  const description = status?.description;
  return {
    ID: node.id,
    Version: { Index: version },
    CreatedAt: time(node.createdAt),
    Spec: { Labels: node.labels, Role: node.role, Availability: node.availability },
    Description: {
      Hostname: description?.hostname ?? '',
      Platform: { Architecture: description?.arch ?? '', OS: description?.os ?? '' },
      Resources: { NanoCPUs: description?.nanoCpus ?? 0, MemoryBytes: description?.memoryBytes ?? 0 },
      Engine: { EngineVersion: description?.version ?? '' },
    },
    Status: {
      State: nodeStateWord(status?.state),
      Message: status?.message === undefined || status.message === '' ? (status?.unfit ?? '') : status.message,
      Addr: description?.address ?? '',
      ...(status === undefined ? {} : { Detail: status.state, Since: time(status.since), Unfit: status.unfit }),
    },
    ...(node.block === undefined ? {} : { Block: node.block }),
  };
}
