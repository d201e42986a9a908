/** What makes a task ready: its health command, its published ports, or nothing at all. Pure. */
import type { HealthCheck } from '../../common/model/service.ts';
import type { Assignment } from '../assignment.ts';
import { probeCommand } from './health-state.ts';

export type ReadinessRule =
  | { readonly kind: 'command'; readonly check: HealthCheck }
  /** Every one of these TCP ports of the container accepts a connection; at least one, in order. */
  | { readonly kind: 'ports'; readonly ports: readonly number[] }
  /** Exec has succeeded. */
  | { readonly kind: 'none' };

/** @param imageCheck  the image's own HEALTHCHECK, if it has one */
export function readinessOf(held: Assignment, imageCheck: HealthCheck | undefined): ReadinessRule {
  const { health } = held.revision.template.container;
  switch (health.kind) {
    case 'none':
      return { kind: 'none' };
    case 'command':
      return byCommand(health.check) ?? { kind: 'none' };
    case 'image':
      return (imageCheck === undefined ? undefined : byCommand(imageCheck)) ?? byPorts(held);
  }
}

function byCommand(check: HealthCheck): ReadinessRule | undefined {
  return probeCommand(check) === undefined ? undefined : { kind: 'command', check };
}

function byPorts(held: Assignment): ReadinessRule {
  const targets = held.revision.ports.filter((port) => port.protocol === 'tcp').map((port) => port.target);
  const ports = [...new Set(targets)].toSorted((a, b) => a - b);
  return ports.length === 0 ? { kind: 'none' } : { kind: 'ports', ports };
}
