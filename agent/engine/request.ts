/** What the runtime is asked for a container without a service, and what is read of its labels. Pure. */

import type { TaskId } from '../../common/model/ids.ts';
import type { HealthCheck } from '../../common/model/service.ts';
import { runtimeImage } from '../container-request.ts';
import type { UnpackedImage } from '../image/image.ts';
import type { Attachment } from '../network/network.ts';
import type { Container, CreateRequest, Exit, RestartInPlace } from '../runtime/runtime.ts';
import type { ContainerRecord } from './record.ts';

const OWNER = 'covey.engine';
const STOP_SIGNAL = 'covey.stop-signal';
const HEALTH = 'covey.health';
/** So long an agent must have been away before a shim runs the container again by itself. */
const HOLD_MS = 1_000;
const DELAY_MS = 100;

/** How an end is told of which nobody knows more. */
export const LOST = { code: null, signal: null, oomKilled: false } as const satisfies Partial<Exit>;

/** The request for its next run. */
export function requestOf(
  { id, spec, restarts }: ContainerRecord,
  image: UnpackedImage,
  { files, mounts, devices }: Pick<CreateRequest, 'files' | 'mounts' | 'devices'>,
): CreateRequest {
  const { container, limits } = spec.template;
  const { config } = image;
  return {
    id,
    image: runtimeImage(image),
    template: container,
    limits,
    hostname: id.slice(0, 12),
    files,
    ...(mounts === undefined ? {} : { mounts }),
    ...(devices === undefined ? {} : { devices }),
    labels: {
      [OWNER]: id,
      [STOP_SIGNAL]: container.stopSignal ?? config.stopSignal,
      ...(config.health === undefined ? {} : { [HEALTH]: JSON.stringify(config.health) }),
    },
    isLasting: true,
    ...(spec.input === undefined ? {} : { input: spec.input }),
    ...(spec.network === 'host' ? { hostNetwork: true } : {}),
    ...inPlace(spec, restarts),
  };
}

/** Its shim goes by the same policy while no agent is there. */
function inPlace(
  { restart, restartMax }: ContainerRecord['spec'],
  used: number,
): { readonly restart?: RestartInPlace } {
  if (restart === 'no') return {};
  const condition = restart === 'on-failure' ? restart : 'any';
  return { restart: { condition, delayMs: DELAY_MS, maxAttempts: restartMax, windowMs: 0, used, holdMs: HOLD_MS } };
}

/** Whether it is one of these, and no task's. */
export function isStandalone({ labels }: Pick<Container, 'labels'>): boolean {
  return labels[OWNER] !== undefined;
}

/** As its image and its user said when it was made. */
export function stopSignalOf(container: Pick<Container, 'labels'> | undefined): string {
  return container?.labels[STOP_SIGNAL] ?? '';
}

/** The image's own HEALTHCHECK, if it had one when the container was made. */
export function imageHealth({ labels }: Pick<Container, 'labels'>): { readonly health?: HealthCheck } {
  const text = labels[HEALTH];
  return text === undefined ? {} : { health: JSON.parse(text) as HealthCheck };
}

/** Its place in the network; undefined when it has no address. */
export function attachmentOf({ id, address, spec }: ContainerRecord): Attachment | undefined {
  if (address === '') return undefined;
  const { networkEgressBits: egressBits = 0, networkIngressBits: ingressBits = 0 } = spec.template.limits;
  const rate = egressBits === 0 && ingressBits === 0 ? {} : { rate: { egressBits, ingressBits } };
  const hostPorts = spec.ports.map(({ protocol, published, target }) => ({ protocol, published, target }));
  return { taskId: id as TaskId, address, hostPorts, ...rate };
}

/** Longer than anybody waits; a timer holds no more than 24 days. */
const FOREVER_MS = 2_000_000_000;

/** How long a container may take to end; below 0: for ever. */
export function graceOf(ms: number): number {
  return ms < 0 ? FOREVER_MS : ms;
}
