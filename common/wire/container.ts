/** Containers without a service, between the model and their messages. */
import type { covey } from '../../proto/messages.ts';
import type { ContainerClaim, ContainerSpec } from '../model/container.ts';
import { type Device, type Mount, PROPAGATIONS } from '../model/mount.ts';
import { integer, oneOf, present, text, within } from './fields.ts';
import { fromPorts, fromTemplate, toPorts, toTemplate } from './template.ts';

const KINDS = ['bind', 'volume', 'tmpfs'] as const;
const NETWORKS = ['cluster', 'host', 'none'] as const;
const INPUTS = ['', 'kept', 'once'] as const;
const RESTARTS = ['no', 'on-failure', 'always', 'unless-stopped'] as const;

/** The spec as a message. */
export function toContainerSpec(spec: ContainerSpec): covey.v1.ContainerSpec.$Properties {
  const { template, ports, input = '', mounts, devices } = spec;
  return {
    ...spec,
    template: toTemplate(template),
    ports: toPorts(ports),
    input,
    mounts: mounts.map(toMount),
    devices: devices.map((device) => ({ ...device })),
  };
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
    mounts: (message.mounts ?? []).map((mount, at) => within(`mounts[${at}]`, () => fromMount(mount))),
    devices: (message.devices ?? []).map(fromDevice),
    autoRemove: message.autoRemove ?? false,
    restart: oneOf(message.restart, RESTARTS, 'restart'),
    restartMax: integer(message.restartMax, 'restartMax'),
  };
}

function toMount(mount: Mount): covey.v1.Mount.$Properties {
  return mount.kind === 'tmpfs' ? { ...mount, options: [...mount.options] } : { ...mount };
}

function fromMount(message: covey.v1.Mount.$Properties): Mount {
  const kind = oneOf(message.kind, KINDS, 'kind');
  const target = text(message.target);
  const source = text(message.source);
  const readOnly = message.readOnly ?? false;
  switch (kind) {
    case 'bind': {
      const propagation = oneOf(message.propagation, PROPAGATIONS, 'propagation');
      return { kind, source, target, readOnly, propagation, makes: message.makes ?? false };
    }
    case 'volume':
      return {
        kind,
        source,
        target,
        readOnly,
        noCopy: message.noCopy ?? false,
        anonymous: message.anonymous ?? false,
      };
    case 'tmpfs':
      return { kind, target, options: message.options ?? [] };
  }
}

function fromDevice({ source, target, access }: covey.v1.Device.$Properties): Device {
  return { source: text(source), target: text(target), access: text(access) };
}

/** The claim as a message. */
export function toContainerClaim(claim: ContainerClaim): covey.v1.ContainerClaim.$Properties {
  const { isMade: made, ports, ...rest } = claim;
  return { ...rest, made, ports: toPorts(ports) };
}

/** The claim of a message. @throws ClusterError `invalid` naming the field */
export function fromContainerClaim(message: covey.v1.ContainerClaim.$Properties): ContainerClaim {
  return {
    id: text(message.id),
    name: text(message.name),
    nodeId: text(message.nodeId),
    imageDigest: text(message.imageDigest),
    createdAt: integer(message.createdAt, 'createdAt'),
    ports: fromPorts(message.ports),
    isMade: message.made ?? false,
  };
}
