/** Containers without a service: what a user wants of one, its rules, and the key that says where it is. */
import type { Digest, Instant, NodeId } from './ids.ts';
import { type Device, type Mount, mountsFlaw } from './mount.ts';
import type { Port, ServiceSpec, TaskTemplate } from './service.ts';
import { DEFAULT_UPDATE } from './service.ts';
import { specFlaw } from './service-rules.ts';
import { type Flaw, firstFlaw, wholeFlaw } from './spec-flaw.ts';

export type ContainerNetwork = 'cluster' | 'host' | 'none';
export type ContainerRestart = 'no' | 'on-failure' | 'always' | 'unless-stopped';

/** Of the template only container and limits count. */
export interface ContainerSpec {
  readonly name: string;
  readonly template: TaskTemplate;
  /** All of mode host, none with 0. */
  readonly ports: readonly Port[];
  readonly network: ContainerNetwork;
  /** What those attached type reaches it; absent: it reads /dev/null. */
  readonly input?: 'kept' | 'once';
  /** No two of one target. */
  readonly mounts: readonly Mount[];
  readonly devices: readonly Device[];
  readonly autoRemove: boolean;
  readonly restart: ContainerRestart;
  /** Of on-failure; 0 = without limit. */
  readonly restartMax: number;
}

/** Says where a container is, to be proved by asking its node. Its key is the id; the name has a claim of its own. */
export interface ContainerClaim {
  /** 64 hex digits. */
  readonly id: string;
  readonly name: string;
  readonly nodeId: NodeId;
  readonly imageDigest: Digest;
  readonly createdAt: Instant;
  /** That it publishes on its node, none with 0; none before it is made. */
  readonly ports: readonly Port[];
  /** Its node has had it: should the node know nothing of it any more, it is gone. */
  readonly isMade: boolean;
}

/** The store's id of a container's name. */
export function containerNameKey(name: string): string {
  return `container/${name}`;
}

/** Docker's rule. Source: moby, daemon/names. */
export function containerNameFlaw(name: string): Flaw | undefined {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name)) return undefined;
  return {
    message: `container name "${name.slice(0, 200).replace(/\p{Cc}/gu, '?')}" is no name`,
    field: 'name',
    hint: 'use letters, digits, _ . and -, beginning with a letter or digit',
  };
}

/** What is wrong with a spec, the first thing found. */
export function containerSpecFlaw(spec: ContainerSpec): Flaw | undefined {
  const { template, ports } = spec;
  const policy = { update: DEFAULT_UPDATE, rollback: DEFAULT_UPDATE };
  const asService: ServiceSpec = {
    name: 'container',
    labels: {},
    template,
    mode: { kind: 'replicated', replicas: 1 },
    ...policy,
    ports,
  };
  return firstFlaw(
    () => containerNameFlaw(spec.name),
    () => specFlaw(asService),
    () => wholeFlaw(spec.restartMax, 'restartMax', 0, 1_000_000),
    () => networkFlaw(spec),
    () => mountsFlaw(spec.mounts, spec.devices),
    () => restartFlaw(spec),
  );
}

function networkFlaw({ network, ports, template }: ContainerSpec): Flaw | undefined {
  if (network !== 'cluster' && ports.length > 0) {
    return {
      message: `ports are published of an address, and network ${network} has none`,
      field: 'ports',
      hint: 'leave out -p',
    };
  }
  const { userns, process } = template.container;
  if (network !== 'host' || userns === 'host' || process?.privileged === true) return undefined;
  return {
    message: 'the host’s network cannot be shared from a user namespace of its own',
    field: 'network',
    hint: 'add --userns host: root in the container is then root of the host',
  };
}

function restartFlaw({ restart, restartMax, autoRemove }: ContainerSpec): Flaw | undefined {
  if (autoRemove && restart !== 'no') {
    return {
      message: 'a container cannot both go with its end and be restarted',
      field: 'restart',
      hint: 'give --rm or --restart',
    };
  }
  if (restartMax === 0 || restart === 'on-failure') return undefined;
  return {
    message: `maximum retry count cannot be used with restart policy "${restart}"`,
    field: 'restartMax',
    hint: 'use on-failure:N',
  };
}
