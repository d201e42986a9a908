/** Containers without a service, between the model and their messages. */
import type { covey } from '../../proto/messages.ts';
import type { ContainerClaim, ContainerSpec } from '../model/container.ts';
import { integer, oneOf, present, text, within } from './fields.ts';
import { fromPorts, fromTemplate, toPorts, toTemplate } from './template.ts';

const NETWORKS = ['cluster', 'host', 'none'] as const;
const INPUTS = ['', 'kept', 'once'] as const;
const RESTARTS = ['no', 'on-failure', 'always', 'unless-stopped'] as const;

/** The spec as a message. */
export function toContainerSpec(spec: ContainerSpec): covey.v1.ContainerSpec.$Properties {
  return { ...spec, template: toTemplate(spec.template), ports: toPorts(spec.ports), input: spec.input ?? '' };
}

/** The spec of a message. @throws ClusterError `invalid` naming the field */
export function fromContainerSpec(message: covey.v1.ContainerSpec.$Properties): ContainerSpec {
  const template = present(message.template, 'template');
  const input = oneOf(message.input, INPUTS, 'input');
  return {
    name: text(message.name),
    template: within('template', () => fromTemplate(template)),
    ports: fromPorts(message.ports),
    network: oneOf(message.network, NETWORKS, 'network'),
    ...(input === '' ? {} : { input }),
    autoRemove: message.autoRemove ?? false,
    restart: oneOf(message.restart, RESTARTS, 'restart'),
    restartMax: integer(message.restartMax, 'restartMax'),
  };
}

/** The claim as a message. */
export function toContainerClaim(claim: ContainerClaim): covey.v1.ContainerClaim.$Properties {
  const { isMade: made, ...rest } = claim;
  return { ...rest, made };
}

/** The claim of a message. @throws ClusterError `invalid` naming the field */
export function fromContainerClaim(message: covey.v1.ContainerClaim.$Properties): ContainerClaim {
  return {
    id: text(message.id),
    name: text(message.name),
    nodeId: text(message.nodeId),
    imageDigest: text(message.imageDigest),
    createdAt: integer(message.createdAt, 'createdAt'),
    isMade: message.made ?? false,
  };
}
