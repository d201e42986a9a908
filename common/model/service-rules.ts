/**
 * The rules of a service's spec: what it may say, what a change of it may change, and its normal form.
 * In comes what a user wrote; out comes the first flaw, or the spec as it is stored. It must never ask the store: ports
 * of other services and images are Control's to check.
 * Source: swarmkit controlapi, validation of service specs; stricter where swarmkit lets contradictions through.
 */

import { parseConstraint } from './constraint.ts';
import { containerFlaw, labelsFlaw, normalContainer } from './container-rules.ts';
import { moreLimitsFlaw } from './limit-rules.ts';
import type { Port, RestartPolicy, ServiceSpec, TaskTemplate, UpdatePolicy } from './service.ts';
import { DEFAULT_MONITOR_MS, DEFAULT_PROGRESS_DEADLINE_MS } from './service.ts';
import { durationFlaw, type Flaw, firstFlaw, flawOfEach, utf8Length, wholeFlaw } from './spec-flaw.ts';

export const NAME_MAX = 63;
/** More tasks than this of one service are a typing error; the store is measured up to 100,000 tasks in all. */
export const REPLICAS_MAX = 100_000;
/** All texts of a spec: a service with its previous spec and a revision must fit into one etcd transaction of 1.4 MB. */
export const SPEC_TEXT_MAX_BYTES = 256 * 1024;
export const PORTS_MAX = 200;
const CPU_MIN = 1_000_000;
const CPU_MAX = 1_000_000 * 1_000_000_000;
const MEMORY_MIN = 4 * 1024 * 1024;
/** 2^50: a pebibyte. */
const MEMORY_MAX = 2 ** 50;
/** Source: the kernel's PID_MAX_LIMIT on 64 bit. */
const PIDS_MAX = 4_194_304;
const ATTEMPTS_MAX = 1_000_000;

/** What is wrong with a spec, the first thing found; undefined: nothing. Give it the normal form or the user's: both do. */
export function specFlaw(spec: ServiceSpec): Flaw | undefined {
  return firstFlaw(
    () => nameFlaw(spec.name),
    () => sizeFlaw(spec),
    () => labelsFlaw(spec.labels, 'labels'),
    () => wholeFlaw(spec.mode.replicas, 'replicas', 0, REPLICAS_MAX),
    () => containerFlaw(normalContainer(spec.template.container)),
    () => templateFlaw(spec.template),
    () => policyFlaw(spec.update, 'update'),
    () => policyFlaw(spec.rollback, 'rollback'),
    () => rollbackActionFlaw(spec.rollback),
    () => portsFlaw(spec.ports),
    () =>
      spec.failoverAfterMs === undefined ? undefined : durationFlaw(spec.failoverAfterMs, 'failoverAfterMs', 1_000),
  );
}

/** What an update may not change. */
export function changeFlaw(before: ServiceSpec, after: ServiceSpec): Flaw | undefined {
  if (before.name !== after.name) {
    return {
      message: `service "${before.name}" cannot be renamed to "${after.name}"`,
      field: 'name',
      hint: 'create a service with the new name and remove the old one',
    };
  }
  if (before.mode.kind !== after.mode.kind) {
    return {
      message: `the mode of service "${before.name}" cannot change`,
      field: 'mode',
      hint: 'create a service of that mode and remove the old one',
    };
  }
  return undefined;
}

/** The spec as it is stored: what a 0 leaves open is filled in. Twice is the same as once. */
export function normalSpec(spec: ServiceSpec): ServiceSpec {
  return {
    ...spec,
    template: { ...spec.template, container: normalContainer(spec.template.container) },
    update: normalPolicy(spec.update),
    rollback: normalPolicy(spec.rollback),
  };
}

/** A service's name: letters and digits joined by single or repeated `-` or `_`, at most 63 characters. */
export function nameFlaw(name: string): Flaw | undefined {
  const hint = `use letters and digits joined by - or _, at most ${NAME_MAX} characters`;
  if (name === '') return { message: 'no service name is given', field: 'name', hint };
  if (name.length > NAME_MAX)
    return { message: `service name of ${name.length} characters is too long`, field: 'name', hint };
  if (/^[a-zA-Z0-9]+(?:[-_]+[a-zA-Z0-9]+)*$/.test(name)) return undefined;
  return { message: `service name "${name.replace(/\p{Cc}/gu, '?')}" is no name`, field: 'name', hint };
}

function normalPolicy(policy: UpdatePolicy): UpdatePolicy {
  return {
    ...policy,
    monitorMs: policy.monitorMs || DEFAULT_MONITOR_MS,
    progressDeadlineMs: policy.progressDeadlineMs || DEFAULT_PROGRESS_DEADLINE_MS,
  };
}

function sizeFlaw(spec: ServiceSpec): Flaw | undefined {
  const bytes = textBytes(spec);
  if (bytes <= SPEC_TEXT_MAX_BYTES) return undefined;
  return {
    message: `the spec of service "${spec.name}" holds ${bytes} bytes of text`,
    field: 'template',
    hint: `shorten environment, labels or command to ${SPEC_TEXT_MAX_BYTES} bytes in all`,
  };
}

function textBytes(value: unknown): number {
  if (typeof value === 'string') return utf8Length(value);
  if (typeof value !== 'object' || value === null) return 0;
  let bytes = 0;
  for (const [key, item] of Object.entries(value)) bytes += utf8Length(key) + textBytes(item);
  return bytes;
}

function templateFlaw(template: TaskTemplate): Flaw | undefined {
  const { limits, reservations, restart, placement, forceUpdate } = template;
  const at = (field: string): string => `template.${field}`;
  return firstFlaw(
    () => cpuFlaw(limits.nanoCpus, at('limits.nanoCpus')),
    () => memoryFlaw(limits.memoryBytes, at('limits.memoryBytes')),
    () => wholeFlaw(limits.pids, at('limits.pids'), 0, PIDS_MAX),
    () => moreLimitsFlaw(template),
    () => cpuFlaw(reservations.nanoCpus, at('reservations.nanoCpus')),
    () => memoryFlaw(reservations.memoryBytes, at('reservations.memoryBytes')),
    () => reservedAboveLimit(reservations.nanoCpus, limits.nanoCpus, at('reservations.nanoCpus')),
    () => reservedAboveLimit(reservations.memoryBytes, limits.memoryBytes, at('reservations.memoryBytes')),
    () => restartFlaw(restart),
    () =>
      flawOfEach(placement.constraints, (text, index) => constraintFlaw(text, at(`placement.constraints[${index}]`))),
    () => wholeFlaw(placement.maxReplicasPerNode, at('placement.maxReplicasPerNode'), 0, REPLICAS_MAX),
    () => wholeFlaw(forceUpdate, at('forceUpdate'), 0, Number.MAX_SAFE_INTEGER),
  );
}

function cpuFlaw(nanoCpus: number, field: string): Flaw | undefined {
  if (nanoCpus === 0 || (Number.isInteger(nanoCpus) && nanoCpus >= CPU_MIN && nanoCpus <= CPU_MAX)) return undefined;
  return { message: `${nanoCpus / 1e9} CPUs are out of range`, field, hint: 'give 0 for none, or at least 0.001' };
}

function memoryFlaw(bytes: number, field: string): Flaw | undefined {
  if (bytes === 0 || (Number.isInteger(bytes) && bytes >= MEMORY_MIN && bytes <= MEMORY_MAX)) return undefined;
  return { message: `${bytes} bytes of memory are out of range`, field, hint: 'give 0 for none, or at least 4 MiB' };
}

function reservedAboveLimit(reserved: number, limit: number, field: string): Flaw | undefined {
  if (limit === 0 || reserved <= limit) return undefined;
  return {
    message: `more is reserved (${reserved}) than the limit allows (${limit})`,
    field,
    hint: 'lower it or raise the limit',
  };
}

function constraintFlaw(text: string, field: string): Flaw | undefined {
  const parsed = parseConstraint(text);
  return parsed.kind === 'bad' ? { message: parsed.message, field, hint: parsed.hint } : undefined;
}

function restartFlaw({ condition, delayMs, maxAttempts, windowMs }: RestartPolicy): Flaw | undefined {
  return firstFlaw(
    () => wordFlaw(condition, ['none', 'on-failure', 'any'], 'template.restart.condition'),
    () => durationFlaw(delayMs, 'template.restart.delayMs', 0),
    () => durationFlaw(windowMs, 'template.restart.windowMs', 0),
    () => wholeFlaw(maxAttempts, 'template.restart.maxAttempts', 0, ATTEMPTS_MAX),
  );
}

function policyFlaw(policy: UpdatePolicy, field: string): Flaw | undefined {
  return firstFlaw(
    () => wholeFlaw(policy.parallelism, `${field}.parallelism`, 0, REPLICAS_MAX),
    () => durationFlaw(policy.delayMs, `${field}.delayMs`, 0),
    () => durationFlaw(policy.monitorMs, `${field}.monitorMs`, 0),
    () => durationFlaw(policy.progressDeadlineMs, `${field}.progressDeadlineMs`, 0),
    () => ratioFlaw(policy.maxFailureRatio, `${field}.maxFailureRatio`),
    () => wordFlaw(policy.failureAction, ['pause', 'continue', 'rollback'], `${field}.failureAction`),
    () => wordFlaw(policy.order, ['stop-first', 'start-first'], `${field}.order`),
  );
}

function ratioFlaw(ratio: number, field: string): Flaw | undefined {
  if (ratio >= 0 && ratio <= 1) return undefined;
  return { message: `failure ratio ${ratio} is out of range`, field, hint: 'give a number from 0 to 1' };
}

function rollbackActionFlaw(rollback: UpdatePolicy): Flaw | undefined {
  if (rollback.failureAction !== 'rollback') return undefined;
  return {
    message: 'a rollback cannot be rolled back',
    field: 'rollback.failureAction',
    hint: 'use pause or continue',
  };
}

function wordFlaw(word: string, known: readonly string[], field: string): Flaw | undefined {
  if (known.includes(word)) return undefined;
  return { message: `"${word}" is none of ${known.join(', ')}`, field, hint: `use one of ${known.join(', ')}` };
}

function portsFlaw(ports: readonly Port[]): Flaw | undefined {
  if (ports.length > PORTS_MAX) {
    return { message: `${ports.length} ports are too many`, field: 'ports', hint: `publish at most ${PORTS_MAX}` };
  }
  const seen = new Set<string>();
  return flawOfEach(ports, (port, index) => {
    const flaw = portFlaw(port, `ports[${index}]`);
    if (flaw !== undefined || port.published === 0) return flaw;
    const key = `${port.published}/${port.protocol}`;
    if (seen.has(key)) {
      return { message: `port ${key} is published twice`, field: `ports[${index}].published`, hint: 'publish it once' };
    }
    seen.add(key);
    return undefined;
  });
}

function portFlaw(port: Port, field: string): Flaw | undefined {
  return firstFlaw(
    () => wholeFlaw(port.target, `${field}.target`, 1, 65_535),
    () => wholeFlaw(port.published, `${field}.published`, 0, 65_535),
    () => wordFlaw(port.protocol, ['tcp', 'udp'], `${field}.protocol`),
    () => wordFlaw(port.mode, ['ingress', 'host'], `${field}.mode`),
  );
}
