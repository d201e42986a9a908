/** What tasks are made from, between the model and its messages. Ranges and names are checked by the rules of the model. */
import { covey } from '../../proto/messages.ts';
import type {
  ContainerTemplate,
  Health,
  HealthCheck,
  Limits,
  Port,
  RestartPolicy,
  TaskTemplate,
  UpdatePolicy,
} from '../model/service.ts';
import { integer, labels, maybe, oneOf, present, text, within } from './fields.ts';
import { fromProcess, toProcess } from './process.ts';

const RESTART_CONDITIONS = ['none', 'on-failure', 'any'] as const;
const USERNS_MODES = ['host'] as const;
const PROTOCOLS = ['tcp', 'udp'] as const;
const PUBLISH_MODES = ['ingress', 'host'] as const;
const FAILURE_ACTIONS = ['pause', 'continue', 'rollback'] as const;
const UPDATE_ORDERS = ['stop-first', 'start-first'] as const;

/** The template as a message. */
export function toTemplate(template: TaskTemplate): covey.v1.TaskTemplate.$Properties {
  return {
    container: toContainer(template.container),
    limitNanoCpus: template.limits.nanoCpus,
    limitMemoryBytes: template.limits.memoryBytes,
    limitPids: template.limits.pids,
    ...toMoreLimits(template.limits),
    reserveNanoCpus: template.reservations.nanoCpus,
    reserveMemoryBytes: template.reservations.memoryBytes,
    restart: { ...template.restart },
    constraints: [...template.placement.constraints],
    maxReplicasPerNode: template.placement.maxReplicasPerNode,
    forceUpdate: template.forceUpdate,
  };
}

/** The template of a message. @throws ClusterError `invalid` naming the field */
export function fromTemplate(message: covey.v1.TaskTemplate.$Properties): TaskTemplate {
  const container = present(message.container, 'container');
  const restart = present(message.restart, 'restart');
  return {
    container: within('container', () => fromContainer(container)),
    limits: {
      nanoCpus: integer(message.limitNanoCpus, 'limits.nanoCpus'),
      memoryBytes: integer(message.limitMemoryBytes, 'limits.memoryBytes'),
      pids: integer(message.limitPids, 'limits.pids'),
      ...fromMoreLimits(message),
    },
    reservations: {
      nanoCpus: integer(message.reserveNanoCpus, 'reservations.nanoCpus'),
      memoryBytes: integer(message.reserveMemoryBytes, 'reservations.memoryBytes'),
    },
    restart: within('restart', () => fromRestart(restart)),
    placement: {
      constraints: [...(message.constraints ?? [])],
      maxReplicasPerNode: integer(message.maxReplicasPerNode, 'placement.maxReplicasPerNode'),
    },
    forceUpdate: integer(message.forceUpdate, 'forceUpdate'),
  };
}

function toMoreLimits(limits: Limits): covey.v1.TaskTemplate.$Properties {
  const { memorySwapBytes, memorySwappiness, networkEgressBits, networkIngressBits, storageBytes } = limits;
  return {
    ...(memorySwapBytes === undefined ? {} : { limitMemorySwapBytes: memorySwapBytes }),
    ...(memorySwappiness === undefined ? {} : { limitMemorySwappiness: memorySwappiness }),
    ...(networkEgressBits === undefined ? {} : { limitNetworkEgressBits: networkEgressBits }),
    ...(networkIngressBits === undefined ? {} : { limitNetworkIngressBits: networkIngressBits }),
    ...(storageBytes === undefined ? {} : { limitStorageBytes: storageBytes }),
  };
}

/** Those that were not set, or set to none, are absent: then two templates that mean the same are the same. */
function fromMoreLimits(message: covey.v1.TaskTemplate.$Properties): Partial<Limits> {
  const swap = integer(message.limitMemorySwapBytes, 'limits.memorySwapBytes');
  const swappiness = message.limitMemorySwappiness;
  const egress = integer(message.limitNetworkEgressBits, 'limits.networkEgressBits');
  const ingress = integer(message.limitNetworkIngressBits, 'limits.networkIngressBits');
  const storage = integer(message.limitStorageBytes, 'limits.storageBytes');
  return {
    ...(storage === 0 ? {} : { storageBytes: storage }),
    ...(swap === 0 ? {} : { memorySwapBytes: swap }),
    ...(swappiness === undefined || swappiness === null
      ? {}
      : { memorySwappiness: integer(swappiness, 'limits.memorySwappiness') }),
    ...(egress === 0 ? {} : { networkEgressBits: egress }),
    ...(ingress === 0 ? {} : { networkIngressBits: ingress }),
  };
}

function toContainer(container: ContainerTemplate): covey.v1.ContainerTemplate.$Properties {
  const { imageDigest, entrypoint, args, workdir, user, hostname, stopSignal } = container;
  return {
    image: container.image,
    ...(imageDigest === undefined ? {} : { imageDigest }),
    ...(entrypoint === undefined ? {} : { entrypoint: { items: [...entrypoint] } }),
    ...(args === undefined ? {} : { args: { items: [...args] } }),
    env: [...container.env],
    ...(workdir === undefined ? {} : { workdir }),
    ...(user === undefined ? {} : { user }),
    ...(hostname === undefined ? {} : { hostname }),
    labels: labels(container.labels),
    readOnly: container.readOnly,
    ...(container.userns === undefined ? {} : { userns: container.userns }),
    tty: container.tty ?? false,
    ...(stopSignal === undefined ? {} : { stopSignal }),
    stopGraceMs: container.stopGraceMs,
    ...toHealth(container.health),
    startTimeoutMs: container.startTimeoutMs,
    drainMs: container.drainMs,
    ...maybe('process', container.process, toProcess),
    ...(container.log === undefined ? {} : { log: { ...container.log, options: labels(container.log.options) } }),
  };
}

function fromContainer(message: covey.v1.ContainerTemplate.$Properties): ContainerTemplate {
  return {
    image: text(message.image),
    ...maybe('imageDigest', message.imageDigest, text<NonNullable<ContainerTemplate['imageDigest']>>),
    ...maybe('entrypoint', message.entrypoint, (list) => [...(list.items ?? [])]),
    ...maybe('args', message.args, (list) => [...(list.items ?? [])]),
    env: [...(message.env ?? [])],
    ...maybe('workdir', message.workdir, text),
    ...maybe('user', message.user, text),
    ...maybe('hostname', message.hostname, text),
    labels: labels(message.labels),
    readOnly: message.readOnly ?? false,
    ...maybe('userns', message.userns, (mode, field) => oneOf(mode, USERNS_MODES, field)),
    ...(message.tty === true ? { tty: true } : {}),
    ...maybe('stopSignal', message.stopSignal, text),
    stopGraceMs: integer(message.stopGraceMs, 'stopGraceMs'),
    health: fromHealth(message),
    startTimeoutMs: integer(message.startTimeoutMs, 'startTimeoutMs'),
    drainMs: integer(message.drainMs, 'drainMs'),
    ...maybe('process', message.process, (rules) => within('process', () => fromProcess(rules))),
    ...maybe('log', message.log, ({ driver, options }) => ({ driver: driver ?? '', options: labels(options) })),
  };
}

function toHealth(health: Health): Pick<covey.v1.ContainerTemplate.$Properties, 'healthKind' | 'health'> {
  switch (health.kind) {
    case 'image':
      return { healthKind: covey.v1.HealthKind.HEALTH_KIND_IMAGE };
    case 'none':
      return { healthKind: covey.v1.HealthKind.HEALTH_KIND_NONE };
    case 'command':
      return { healthKind: covey.v1.HealthKind.HEALTH_KIND_COMMAND, health: toHealthCheck(health.check) };
  }
}

function fromHealth(message: covey.v1.ContainerTemplate.$Properties): Health {
  const kind = message.healthKind ?? covey.v1.HealthKind.HEALTH_KIND_IMAGE;
  // A number from a newer version is possible here, whatever the type says.
  switch (oneOf(String(kind), ['0', '1', '2'], 'healthKind')) {
    case '0':
      return { kind: 'image' };
    case '1':
      return { kind: 'none' };
    case '2': {
      const check = present(message.health, 'health');
      return { kind: 'command', check: within('health', () => fromHealthCheck(check)) };
    }
  }
}

/** Also used for the health rule that an image brings. */
export function toHealthCheck(check: HealthCheck): covey.v1.HealthCheck.$Properties {
  return { ...check, test: [...check.test] };
}

/** The health rule of a message. @throws ClusterError `invalid` naming the field */
export function fromHealthCheck(message: covey.v1.HealthCheck.$Properties): HealthCheck {
  return {
    test: [...(message.test ?? [])],
    intervalMs: integer(message.intervalMs, 'intervalMs'),
    timeoutMs: integer(message.timeoutMs, 'timeoutMs'),
    retries: integer(message.retries, 'retries'),
    startPeriodMs: integer(message.startPeriodMs, 'startPeriodMs'),
    startIntervalMs: integer(message.startIntervalMs, 'startIntervalMs'),
  };
}

function fromRestart(message: covey.v1.RestartPolicy.$Properties): RestartPolicy {
  return {
    condition: oneOf(message.condition, RESTART_CONDITIONS, 'condition'),
    delayMs: integer(message.delayMs, 'delayMs'),
    maxAttempts: integer(message.maxAttempts, 'maxAttempts'),
    windowMs: integer(message.windowMs, 'windowMs'),
  };
}

/** The ports as messages. */
export function toPorts(ports: readonly Port[]): covey.v1.Port.$Properties[] {
  return ports.map((port) => ({ ...port }));
}

/** The ports of messages, in their order. @throws ClusterError `invalid` naming the field */
export function fromPorts(messages: readonly covey.v1.Port.$Properties[] | undefined): readonly Port[] {
  return (messages ?? []).map((message, index) => ({
    protocol: oneOf(message.protocol, PROTOCOLS, `ports[${index}].protocol`),
    target: integer(message.target, `ports[${index}].target`),
    published: integer(message.published, `ports[${index}].published`),
    mode: oneOf(message.mode, PUBLISH_MODES, `ports[${index}].mode`),
  }));
}

/** The policy as a message. */
export function toUpdatePolicy(policy: UpdatePolicy): covey.v1.UpdatePolicy.$Properties {
  return { ...policy };
}

/** The policy of a message. @throws ClusterError `invalid` naming the field */
export function fromUpdatePolicy(message: covey.v1.UpdatePolicy.$Properties): UpdatePolicy {
  return {
    parallelism: integer(message.parallelism, 'parallelism'),
    delayMs: integer(message.delayMs, 'delayMs'),
    failureAction: oneOf(message.failureAction, FAILURE_ACTIONS, 'failureAction'),
    monitorMs: integer(message.monitorMs, 'monitorMs'),
    maxFailureRatio: message.maxFailureRatio ?? 0,
    order: oneOf(message.order, UPDATE_ORDERS, 'order'),
    progressDeadlineMs: integer(message.progressDeadlineMs, 'progressDeadlineMs'),
  };
}
