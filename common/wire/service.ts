/** Services, their revisions and rollouts, between the model and its messages. */
import type { covey } from '../../proto/messages.ts';
import type { Rollout } from '../model/rollout.ts';
import type { Service, ServiceRevision, ServiceSpec } from '../model/service.ts';
import { integer, integers, labels, maybe, oneOf, present, text, within } from './fields.ts';
import { fromPorts, fromTemplate, fromUpdatePolicy, toPorts, toTemplate, toUpdatePolicy } from './template.ts';

const ROLLOUT_STATES = [
  'updating',
  'paused',
  'completed',
  'rollback_started',
  'rollback_paused',
  'rollback_completed',
] as const;

/** The spec as a message. */
export function toServiceSpec(spec: ServiceSpec): covey.v1.ServiceSpec.$Properties {
  return {
    name: spec.name,
    labels: labels(spec.labels),
    template: toTemplate(spec.template),
    replicas: spec.mode.replicas,
    update: toUpdatePolicy(spec.update),
    rollback: toUpdatePolicy(spec.rollback),
    ports: toPorts(spec.ports),
    ...maybe('failoverAfterMs', spec.failoverAfterMs, integer),
  };
}

/** The spec of a message, its types right but its names and ranges unchecked. @throws ClusterError `invalid` naming the field */
export function fromServiceSpec(message: covey.v1.ServiceSpec.$Properties): ServiceSpec {
  const template = present(message.template, 'template');
  const update = present(message.update, 'update');
  const rollback = present(message.rollback, 'rollback');
  return {
    name: text(message.name),
    labels: labels(message.labels),
    template: within('template', () => fromTemplate(template)),
    mode: { kind: 'replicated', replicas: integer(message.replicas, 'replicas') },
    update: within('update', () => fromUpdatePolicy(update)),
    rollback: within('rollback', () => fromUpdatePolicy(rollback)),
    ports: fromPorts(message.ports),
    ...maybe('failoverAfterMs', message.failoverAfterMs, integer),
  };
}

/** The service as a message. */
export function toService(service: Service): covey.v1.Service.$Properties {
  const { previous } = service;
  return {
    id: service.id,
    spec: toServiceSpec(service.spec),
    revision: service.revision,
    ...(previous && { previousSpec: toServiceSpec(previous.spec), previousRevision: previous.revision }),
    lastRevision: service.lastRevision,
    rolledBack: service.rolledBack,
    createdAt: service.createdAt,
    updatedAt: service.updatedAt,
  };
}

/** The service of a message. @throws ClusterError `invalid` naming the field */
export function fromService(message: covey.v1.Service.$Properties): Service {
  const spec = present(message.spec, 'spec');
  return {
    id: text(message.id),
    spec: within('spec', () => fromServiceSpec(spec)),
    revision: integer(message.revision, 'revision'),
    ...maybe('previous', message.previousSpec, (previous) => ({
      spec: within('previous.spec', () => fromServiceSpec(previous)),
      revision: integer(message.previousRevision, 'previous.revision'),
    })),
    lastRevision: integer(message.lastRevision, 'lastRevision'),
    rolledBack: message.rolledBack ?? false,
    createdAt: integer(message.createdAt, 'createdAt'),
    updatedAt: integer(message.updatedAt, 'updatedAt'),
  };
}

/** The revision as a message. */
export function toServiceRevision(revision: ServiceRevision): covey.v1.ServiceRevision.$Properties {
  return {
    serviceId: revision.serviceId,
    number: revision.number,
    serviceName: revision.serviceName,
    template: toTemplate(revision.template),
    ports: toPorts(revision.ports),
    ...maybe('failoverAfterMs', revision.failoverAfterMs, integer),
  };
}

/** The revision of a message. @throws ClusterError `invalid` naming the field */
export function fromServiceRevision(message: covey.v1.ServiceRevision.$Properties): ServiceRevision {
  const template = present(message.template, 'template');
  return {
    serviceId: text(message.serviceId),
    number: integer(message.number, 'number'),
    serviceName: text(message.serviceName),
    template: within('template', () => fromTemplate(template)),
    ports: fromPorts(message.ports),
    ...maybe('failoverAfterMs', message.failoverAfterMs, integer),
  };
}

/** The rollout as a message. */
export function toRollout(rollout: Rollout): covey.v1.Rollout.$Properties {
  return {
    ...rollout,
    done: [...rollout.done],
    failed: rollout.failed.map((failure) => ({ ...failure })),
  };
}

/** The rollout of a message. @throws ClusterError `invalid` naming the field */
export function fromRollout(message: covey.v1.Rollout.$Properties): Rollout {
  return {
    serviceId: text(message.serviceId),
    target: integer(message.target, 'target'),
    state: oneOf(message.state, ROLLOUT_STATES, 'state'),
    startedAt: integer(message.startedAt, 'startedAt'),
    ...maybe('completedAt', message.completedAt, integer),
    message: text(message.message),
    total: integer(message.total, 'total'),
    done: integers(message.done, 'done'),
    failed: (message.failed ?? []).map((failure, index) => ({
      slot: integer(failure.slot, `failed[${index}].slot`),
      taskId: text(failure.taskId),
    })),
    progressAt: integer(message.progressAt, 'progressAt'),
    ...maybe('lastDoneAt', message.lastDoneAt, integer),
  };
}
