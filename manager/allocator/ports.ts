/**
 * Published ports: which numbers a service gets that leaves the choice to us, and which other service has one already.
 * Used by Control when it accepts a spec; nothing of it runs later.
 */
import type { ContainerClaim } from '../../common/model/container.ts';
import type { ServiceId } from '../../common/model/ids.ts';
import type { Port } from '../../common/model/service.ts';
import type { View } from '../store/store.ts';

/** Source: Docker's range for published ports that the user left open. */
export const PORTS_FIRST = 30_000;
export const PORTS_LAST = 32_767;

/** Somebody's hold on a port. */
export interface PortClaim {
  readonly serviceId: ServiceId;
  readonly serviceName: string;
  readonly port: Port;
}

/** A container without a service that publishes one of the ports, on whatever node; undefined when none does. */
export function containerWith(view: View, { published, protocol }: Port): ContainerClaim | undefined {
  if (published === 0) return undefined;
  const has = (port: Port): boolean => port.published === published && port.protocol === protocol;
  return [...view.all('container')].find(({ value }) => value.ports.some(has))?.value;
}

/** Those that containers without a service publish, each on its node. */
export function containerPorts(view: View): readonly Port[] {
  return [...view.all('container')].flatMap(({ value }) => value.ports);
}

/** The ports of all services' specs in force. */
export function portClaims(view: View): readonly PortClaim[] {
  return [...view.all('service')].flatMap(({ value }) =>
    value.spec.ports.map((port) => ({ serviceId: value.id, serviceName: value.spec.name, port })),
  );
}

/** Ports that other services' running tasks may still hold although no spec names them any more: not to be chosen by us. */
export function lingeringPorts(view: View, self: ServiceId | undefined): readonly Port[] {
  return [...view.all('revision')].flatMap(({ value }) => (value.serviceId === self ? [] : value.ports));
}

/** A port of the spec that another service has: ingress excludes everything, host excludes only ingress. */
export interface PortConflict {
  /** Index in the spec's ports. */
  readonly index: number;
  readonly with: PortClaim;
}

/**
 * The first port of `ports` that clashes with another service's, in the order of `ports`.
 * Two services may publish one port in host mode: the scheduler keeps them on different nodes. Source: swarmkit, host ports.
 * @param self  the service the ports are for; its own claims do not count
 */
export function portConflict(
  ports: readonly Port[],
  claims: readonly PortClaim[],
  self: ServiceId | undefined,
): PortConflict | undefined {
  for (const [index, port] of ports.entries()) {
    if (port.published === 0) continue;
    const other = claims.find((claim) => claim.serviceId !== self && clash(port, claim.port));
    if (other !== undefined) return { index, with: other };
  }
  return undefined;
}

/** The first port that the spec itself publishes twice, as an index; undefined when none is. */
export function repeatedPort(ports: readonly Port[]): number | undefined {
  const seen = new Set<string>();
  for (const [index, port] of ports.entries()) {
    if (port.published === 0) continue;
    if (seen.has(portKey(port))) return index;
    seen.add(portKey(port));
  }
  return undefined;
}

/**
 * The ports with a number in place of each 0: the one `before` had for the same target, mode and protocol (an update
 * moves no port), else the lowest of 30000–32767 that is free.
 * @param taken  other services' ports, of whatever mode: never chosen
 * @param before  this service's ports so far
 * @returns undefined when the range is used up
 */
export function assignPorts(
  ports: readonly Port[],
  taken: Iterable<Port>,
  before: readonly Port[],
): readonly Port[] | undefined {
  const used = new Set([...taken, ...ports].map(portKey));
  const kept = new Set<string>();
  const assigned: Port[] = [];
  for (const port of ports) {
    const published = port.published !== 0 ? port.published : (sticky(port, before, used, kept) ?? lowest(port, used));
    if (published === undefined) return undefined;
    used.add(portKey({ ...port, published }));
    assigned.push({ ...port, published });
  }
  return assigned;
}

function sticky(port: Port, before: readonly Port[], used: Set<string>, kept: Set<string>): number | undefined {
  const old = before.find(
    (other) =>
      other.target === port.target &&
      other.protocol === port.protocol &&
      other.mode === port.mode &&
      !used.has(portKey(other)) &&
      !kept.has(portKey(other)),
  );
  if (old !== undefined) kept.add(portKey(old));
  return old?.published;
}

function lowest(port: Port, used: ReadonlySet<string>): number | undefined {
  for (let published = PORTS_FIRST; published <= PORTS_LAST; published++) {
    if (!used.has(portKey({ ...port, published }))) return published;
  }
  return undefined;
}

function clash(a: Port, b: Port): boolean {
  return portKey(a) === portKey(b) && (a.mode === 'ingress' || b.mode === 'ingress');
}

/** `8080/tcp`. */
export function portKey(port: Pick<Port, 'published' | 'protocol'>): string {
  return `${port.published}/${port.protocol}`;
}
