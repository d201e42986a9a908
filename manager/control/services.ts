/**
 * What users may do with services. One function a verb; gRPC and HTTP call the same ones.
 * In: the store and a spec. Out: the service as stored. It must never write tasks: those are the leader's.
 */
import { ClusterError } from '../../common/errors.ts';
import { newId } from '../../common/ids.ts';
import type { ServiceId } from '../../common/model/ids.ts';
import { revisionKey, type Service, type ServiceRevision, type ServiceSpec } from '../../common/model/service.ts';
import { changeFlaw, normalSpec, specFlaw } from '../../common/model/service-rules.ts';
import {
  assignPorts,
  containerPorts,
  containerWith,
  lingeringPorts,
  PORTS_FIRST,
  PORTS_LAST,
  portClaims,
  portConflict,
  portKey,
} from '../allocator/ports.ts';
import { isSame, isSameTemplate } from '../orchestrator/dirty.ts';
import { put, remove, type Stored, type Unit, type View, type Write } from '../store/store.ts';
import { rolledBack } from '../updater/rollback.ts';
import { type Context, caughtUp, commitUnit, refusal } from './context.ts';
import { pinned } from './image-choice.ts';
import { findService } from './lookup.ts';
import { nodeNameOf } from './names.ts';

/**
 * Key of kind `name` that every unit writes which publishes a port, so that two that would take the same one at the
 * same time, on whichever managers, conflict and one of them looks again.
 */
const PORT_TABLE = 'ports';

/**
 * Makes a service.
 * @throws ClusterError `invalid` for a bad spec, `exists` for a taken name or port, `not_found` for an unknown image
 */
export async function createService(
  context: Context,
  spec: ServiceSpec,
  signal: AbortSignal,
): Promise<Stored<Service>> {
  const { store, clock } = context;
  const id = newId<ServiceId>();
  const flaw = specFlaw(spec);
  if (flaw !== undefined) throw refusal(flaw);
  const plan = (): Unit => {
    const { view } = store;
    const claimId = claimOf(spec.name);
    if (view.get('name', claimId) !== undefined) {
      throw new ClusterError('exists', `service "${spec.name}" exists already`, {
        field: 'name',
        hint: 'choose another name, or change it with `covey service update`',
      });
    }
    const accepted = accept(view, normalSpec(spec), undefined);
    const now = clock.now();
    const service: Service = {
      id,
      spec: accepted,
      revision: 1,
      lastRevision: 1,
      rolledBack: false,
      createdAt: now,
      updatedAt: now,
    };
    return [
      put('service', id, service, 0),
      put('name', claimId, { name: spec.name, id }, 0),
      put('revision', revisionKey(id, 1), revisionFrom(service), 0),
      ...portTable(view, service),
    ];
  };
  await commitUnit(context, plan, signal);
  return stored(store.view, id);
}

/**
 * Puts a whole new spec in the place of the one that was read at `version`.
 * A change of template or ports begins a new revision and keeps the old spec for a rollback; any other leaves both alone.
 * @throws ClusterError as createService, and `conflict` naming the current version when `version` is stale
 */
export async function updateService(
  context: Context,
  request: { readonly id: string; readonly version: number; readonly spec: ServiceSpec },
  signal: AbortSignal,
): Promise<Stored<Service>> {
  const { store, clock } = context;
  const flaw = specFlaw(request.spec);
  if (flaw !== undefined) throw refusal(flaw);
  await caughtUp(context, request.version, signal);
  const plan = (): Unit => {
    const { view } = store;
    const before = current(view, request.id, request.version);
    const fixed = changeFlaw(before.value.spec, request.spec);
    if (fixed !== undefined) throw refusal(fixed);
    const spec = accept(view, normalSpec(request.spec), before.value);
    const after = changed(before.value, spec, clock.now());
    return [
      put('service', after.id, after, before.rev),
      ...(after.revision === before.value.revision
        ? []
        : [put('revision', revisionKey(after.id, after.revision), revisionFrom(after), 0)]),
      ...(isSame(spec.ports, before.value.spec.ports) ? [] : portTable(view, after)),
    ];
  };
  await commitUnit(context, plan, signal);
  return stored(store.view, request.id);
}

/**
 * Back to the previous spec; the two swap places, so twice goes forward again.
 * @throws ClusterError `not_found` without a previous spec, `exists` when one of its ports is another service's by now,
 *   `conflict` when `version` is given (not 0) and stale
 */
export async function rollbackService(
  context: Context,
  request: { readonly id: string; readonly version: number },
  signal: AbortSignal,
): Promise<Stored<Service>> {
  const { store, clock } = context;
  await caughtUp(context, request.version, signal);
  const plan = (): Unit => {
    const { view } = store;
    const before = current(view, request.id, request.version);
    const { spec, id } = before.value;
    const after = rolledBack(before.value, clock.now());
    if (after === undefined) {
      throw new ClusterError('not_found', `service "${spec.name}" has no previous spec`, {
        hint: 'a rollback is possible after an update that changed the tasks',
      });
    }
    refusePortsOfOthers(view, after.spec, id);
    const key = revisionKey(id, after.revision);
    return [
      put('service', id, after, before.rev),
      // Its contents are normally still there, kept because the service names them.
      ...(view.get('revision', key) === undefined ? [put('revision', key, revisionFrom(after), 0)] : []),
      ...portTable(view, after),
    ];
  };
  await commitUnit(context, plan, signal);
  return stored(store.view, request.id);
}

/** The service and its name vanish at once; the leader stops its tasks afterwards. */
export async function removeService(context: Context, ref: string, signal: AbortSignal): Promise<void> {
  const plan = (): Unit => {
    const { value, rev } = findService(context.store.view, ref);
    return [remove('service', value.id, rev), remove('name', claimOf(value.spec.name))];
  };
  await commitUnit(context, plan, signal);
}

/** Which services a list is about: each filter that is not empty must have a match. */
export interface ServiceFilter {
  /** Prefixes. */
  readonly names: readonly string[];
  /** Prefixes. */
  readonly ids: readonly string[];
  /** All must match; an empty value asks only for the key. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Services by name. */
export function listServices(view: View, filter: ServiceFilter): readonly Stored<Service>[] {
  const matches = ({ id, spec }: Service): boolean =>
    (filter.names.length === 0 || filter.names.some((name) => spec.name.startsWith(name))) &&
    (filter.ids.length === 0 || filter.ids.some((prefix) => id.startsWith(prefix))) &&
    Object.entries(filter.labels).every(
      ([key, value]) => Object.hasOwn(spec.labels, key) && (value === '' || spec.labels[key] === value),
    );
  return [...view.all('service')]
    .filter(({ value }) => matches(value))
    .sort((a, b) => (a.value.spec.name < b.value.spec.name ? -1 : 1));
}

/** The service after an update: a new revision only when what tasks are made from differs. */
export function changed(before: Service, spec: ServiceSpec, now: number): Service {
  const same = isSameTemplate(before.spec.template, spec.template) && isSame(before.spec.ports, spec.ports);
  if (same) return { ...before, spec, updatedAt: now };
  return {
    ...before,
    spec,
    revision: before.lastRevision + 1,
    lastRevision: before.lastRevision + 1,
    previous: { spec: before.spec, revision: before.revision },
    rolledBack: false,
    updatedAt: now,
  };
}

function accept(view: View, spec: ServiceSpec, before: Service | undefined): ServiceSpec {
  const container = pinned(view, spec.template.container, before?.spec.template.container);
  const taken = portClaims(view)
    .filter((claim) => claim.serviceId !== before?.id)
    .map(({ port }) => port);
  const others = [...taken, ...lingeringPorts(view, before?.id), ...containerPorts(view)];
  const ports = assignPorts(spec.ports, others, before?.spec.ports ?? []);
  if (ports === undefined) {
    throw new ClusterError('exhausted', `no free port is left for service "${spec.name}"`, {
      field: 'ports',
      hint: `ports ${PORTS_FIRST}–${PORTS_LAST} are all published; name a port outside of them`,
    });
  }
  const accepted = { ...spec, template: { ...spec.template, container }, ports };
  refusePortsOfOthers(view, accepted, before?.id);
  return accepted;
}

function refusePortsOfOthers(view: View, spec: ServiceSpec, self: ServiceId | undefined): void {
  const conflict = portConflict(spec.ports, portClaims(view), self);
  refusePortsOfContainers(view, spec);
  if (conflict === undefined) return;
  throw new ClusterError(
    'exists',
    `port ${portKey(conflict.with.port)} is published by service "${conflict.with.serviceName}"`,
    {
      field: `ports[${conflict.index}].published`,
      hint: 'choose another port, or publish in host mode in both services',
    },
  );
}

/** In host mode the scheduler finds another node. */
function refusePortsOfContainers(view: View, { ports }: ServiceSpec): void {
  for (const [index, port] of ports.entries()) {
    const claim = port.mode === 'ingress' ? containerWith(view, port) : undefined;
    if (claim === undefined) continue;
    const node = nodeNameOf(view, claim.nodeId);
    throw new ClusterError(
      'exists',
      `port ${portKey(port)} is published by container "${claim.name}" on node ${node}`,
      {
        field: `ports[${index}].published`,
        hint: 'choose another port, publish in host mode, or remove the container',
      },
    );
  }
}

function portTable(view: View, service: Service): readonly Write[] {
  if (service.spec.ports.length === 0) return [];
  return [put('name', PORT_TABLE, { name: PORT_TABLE, id: service.id }, view.get('name', PORT_TABLE)?.rev ?? 0)];
}

function current(view: View, id: string, version: number): Stored<Service> {
  const service = view.get('service', id);
  if (service === undefined) throw new ClusterError('not_found', `service "${id}" is not in the cluster`);
  if (version === 0 || service.rev === version) return service;
  throw new ClusterError(
    'conflict',
    `service "${service.value.spec.name}" is at version ${service.rev}, not ${version}: somebody changed it meanwhile`,
    { field: 'version', hint: 'read it again and repeat the change' },
  );
}

function revisionFrom({ id, revision, spec }: Service): ServiceRevision {
  return {
    serviceId: id,
    number: revision,
    serviceName: spec.name,
    template: spec.template,
    ports: spec.ports,
    ...(spec.failoverAfterMs === undefined ? {} : { failoverAfterMs: spec.failoverAfterMs }),
  };
}

function claimOf(name: string): string {
  return `service/${name.toLowerCase()}`;
}

function stored(view: View, id: string): Stored<Service> {
  const service = view.get('service', id);
  if (service === undefined) throw new ClusterError('not_found', `service "${id}" has been removed meanwhile`);
  return service;
}
