import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSignal } from '../../../../common/model/container-rules.ts';
import type {
  ContainerTemplate,
  Port,
  ServiceSpec,
  TaskTemplate,
  UpdatePolicy,
} from '../../../../common/model/service.ts';
import { changeFlaw, nameFlaw, normalSpec, specFlaw } from '../../../../common/model/service-rules.ts';
import { aSpec, aTemplate, CONTAINER } from '../../../support/fixtures.ts';

const web = aSpec('web');
const MIB = 1024 * 1024;

/** `field: message` of the first flaw, or nothing. */
function flaw(change: Partial<ServiceSpec>): string | undefined {
  const found = specFlaw({ ...web, ...change });
  return found && `${found.field}: ${found.message}`;
}
const container = (change: Partial<ContainerTemplate>) =>
  flaw({ template: aTemplate({ container: { ...CONTAINER, ...change } }) });
const template = (change: Partial<TaskTemplate>) => flaw({ template: aTemplate(change) });
const update = (change: Partial<UpdatePolicy>) => flaw({ update: { ...web.update, ...change } });
const rollback = (change: Partial<UpdatePolicy>) => flaw({ rollback: { ...web.rollback, ...change } });
const ports = (...change: Partial<Port>[]) =>
  flaw({ ports: change.map((port) => ({ protocol: 'tcp', target: 80, published: 8080, mode: 'ingress', ...port })) });
const health = (change: object) =>
  container({
    health: {
      kind: 'command',
      check: {
        test: ['CMD', 'true'],
        intervalMs: 1,
        timeoutMs: 1,
        retries: 1,
        startPeriodMs: 0,
        startIntervalMs: 1,
        ...change,
      },
    },
  });

describe('the rules of a service spec', () => {
  it('let an ordinary spec pass', () => {
    expect(specFlaw(web)).toBeUndefined();
  });

  it('take names of letters and digits joined by hyphen or underscore, up to 63 characters', () => {
    for (const name of ['web', 'Web-1', 'a_b', 'a--b', 'x'.repeat(63)]) expect(nameFlaw(name), name).toBeUndefined();
    for (const name of ['', '-web', 'web-', 'a b', 'a.b', 'ä', 'a\n', 'a\0b', 'x'.repeat(64)]) {
      expect(nameFlaw(name)?.field, name).toBe('name');
    }
  });

  it('refuse replicas that are no count', () => {
    for (const replicas of [-1, 1.5, Number.NaN, 100_001]) {
      expect(flaw({ mode: { kind: 'replicated', replicas } })).toMatch(/^replicas: /);
    }
    expect(flaw({ mode: { kind: 'replicated', replicas: 0 } })).toBeUndefined();
  });

  it('refuse an image that is empty or has spaces', () => {
    expect(container({ image: '' })).toBe('template.container.image: no image is given');
    expect(container({ image: 'web 1' })).toMatch(/^template\.container\.image: /);
  });

  it('refuse environment entries without a name or value, and NULs in them', () => {
    expect(container({ env: ['A=1', '=2'] })).toBe('template.container.env[1]: environment entry "=2" has no name');
    expect(container({ env: ['A'] })).toBe('template.container.env[0]: environment entry "A" has no value');
    expect(container({ env: ['A=\0'] })).toBe('template.container.env[0]: text holds a NUL character');
    expect(container({ env: ['A='] })).toBeUndefined();
    expect(container({ env: [`A=${'x'.repeat(128 * 1024)}`] })).toMatch(/^template\.container\.env\[0\]: text of/);
  });

  it('refuse NULs in commands', () => {
    expect(container({ entrypoint: ['sh', '\0'] })).toMatch(/^template\.container\.entrypoint\[1\]: /);
    expect(container({ args: ['\0'] })).toMatch(/^template\.container\.args\[0\]: /);
    expect(container({ args: [''] })).toBeUndefined();
  });

  it('want an absolute working directory', () => {
    expect(container({ workdir: 'srv' })).toBe('template.container.workdir: working directory "srv" is not absolute');
    expect(container({ workdir: '/srv' })).toBeUndefined();
  });

  it('want users as names or numbers, with or without group', () => {
    for (const user of ['root', '1000', '1000:1000', 'www-data:www-data']) expect(container({ user })).toBeUndefined();
    for (const user of ['', 'a b', ':1', '1:', '1:2:3', '4294967295', '../x']) {
      expect(container({ user }), user).toMatch(/^template\.container\.user: /);
    }
  });

  it('want host names that a resolver takes', () => {
    for (const hostname of ['a', 'web-1', 'web.example']) expect(container({ hostname })).toBeUndefined();
    for (const hostname of ['', '-a', 'a-', 'a_b', 'a..b', 'x'.repeat(64)]) {
      expect(container({ hostname }), hostname).toMatch(/^template\.container\.hostname: /);
    }
  });

  it('know signals by name and number', () => {
    for (const signal of ['SIGTERM', 'TERM', 'sigquit', '15', 'RTMIN+3']) expect(isSignal(signal), signal).toBe(true);
    for (const signal of ['', 'SIGFOO', '0', '65', 'RTMIN+31', 'SIGSIGTERM'])
      expect(isSignal(signal), signal).toBe(false);
    expect(container({ stopSignal: 'SIGFOO' })).toBe('template.container.stopSignal: stop signal "SIGFOO" is unknown');
  });

  it('refuse labels without a key', () => {
    expect(flaw({ labels: { '': 'x' } })).toBe('labels: a label has no key');
    expect(container({ labels: { '': 'x' } })).toBe('template.container.labels: a label has no key');
  });

  it('refuse durations that are negative, broken or longer than a year', () => {
    for (const ms of [-1, 0.5, 366 * 24 * 3_600_000]) {
      expect(container({ stopGraceMs: ms })).toMatch(/^template\.container\.stopGraceMs: /);
      expect(container({ drainMs: ms })).toMatch(/^template\.container\.drainMs: /);
      expect(template({ restart: { ...web.template.restart, delayMs: ms } })).toMatch(/^template\.restart\.delayMs: /);
      expect(template({ restart: { ...web.template.restart, windowMs: ms } })).toMatch(
        /^template\.restart\.windowMs: /,
      );
      expect(update({ delayMs: ms })).toMatch(/^update\.delayMs: /);
      expect(update({ monitorMs: ms })).toMatch(/^update\.monitorMs: /);
      expect(flaw({ failoverAfterMs: ms })).toMatch(/^failoverAfterMs: /);
    }
  });

  it('want CPUs of 0 or at least a thousandth, memory of 0 or at least 4 MiB', () => {
    const cpu = (nanoCpus: number) => template({ limits: { nanoCpus, memoryBytes: 0, pids: 0 } });
    const memory = (memoryBytes: number) => template({ reservations: { nanoCpus: 0, memoryBytes } });
    expect(cpu(0)).toBeUndefined();
    expect(cpu(1_000_000)).toBeUndefined();
    expect(cpu(999_999)).toMatch(/^template\.limits\.nanoCpus: /);
    expect(memory(4 * MIB)).toBeUndefined();
    expect(memory(4 * MIB - 1)).toMatch(/^template\.reservations\.memoryBytes: /);
  });

  it('refuse to reserve more than the limit', () => {
    const limits = { nanoCpus: 0, memoryBytes: 8 * MIB, pids: 0 };
    expect(template({ limits, reservations: { nanoCpus: 0, memoryBytes: 9 * MIB } })).toMatch(/more is reserved/);
  });

  it('refuse constraints that do not parse', () => {
    expect(template({ placement: { constraints: ['node.labels.a=b'], maxReplicasPerNode: 0 } })).toMatch(
      /^template\.placement\.constraints\[0\]: /,
    );
  });

  it('hold the rollback policy to the same rules as the update policy', () => {
    for (const policy of [update, rollback]) {
      expect(policy({ parallelism: -1 })).toMatch(/parallelism: /);
      expect(policy({ maxFailureRatio: 1.1 })).toMatch(/maxFailureRatio: /);
      expect(policy({ maxFailureRatio: Number.NaN })).toMatch(/maxFailureRatio: /);
      expect(policy({ delayMs: -1 })).toMatch(/delayMs: /);
    }
  });

  it('refuse a rollback of a rollback', () => {
    expect(update({ failureAction: 'rollback' })).toBeUndefined();
    expect(rollback({ failureAction: 'rollback' })).toBe('rollback.failureAction: a rollback cannot be rolled back');
  });

  it('refuse ports out of range and one published twice', () => {
    expect(ports({ target: 0 })).toMatch(/^ports\[0\]\.target: /);
    expect(ports({ published: 65_536 })).toMatch(/^ports\[0\]\.published: /);
    expect(ports({ published: 0 }, { published: 0 })).toBeUndefined();
    expect(ports({}, { target: 81 })).toBe('ports[1].published: port 8080/tcp is published twice');
    expect(ports({}, { protocol: 'udp' })).toBeUndefined();
  });

  it('refuse health checks without a command or with times out of range', () => {
    expect(health({})).toBeUndefined();
    expect(health({ test: [] })).toMatch(/^template\.container\.health\.test: /);
    expect(health({ test: ['CMD'] })).toMatch(/^template\.container\.health\.test: /);
    expect(health({ test: ['CMD-SHELL', 'a', 'b'] })).toMatch(/^template\.container\.health\.test: /);
    expect(health({ intervalMs: -1 })).toMatch(/^template\.container\.health\.intervalMs: /);
    expect(health({ retries: -1 })).toMatch(/^template\.container\.health\.retries: /);
  });

  it('refuse a spec too large for one transaction', () => {
    expect(
      flaw({
        labels: {
          a: 'x'.repeat(60_000),
          b: 'x'.repeat(60_000),
          c: 'x'.repeat(60_000),
          d: 'x'.repeat(60_000),
          e: 'x'.repeat(60_000),
        },
      }),
    ).toMatch(/^template: the spec of service "web" holds/);
  });

  it('keep name and mode for life', () => {
    expect(changeFlaw(web, { ...web, name: 'other' })?.field).toBe('name');
    expect(changeFlaw(web, { ...web, labels: { a: 'b' } })).toBeUndefined();
  });

  it('fill in what a 0 leaves open', () => {
    const open = { ...web.update, monitorMs: 0, progressDeadlineMs: 0 };
    const spec = normalSpec({
      ...web,
      update: open,
      template: aTemplate({ container: { ...CONTAINER, startTimeoutMs: 0 } }),
    });
    expect([spec.update.monitorMs, spec.update.progressDeadlineMs]).toEqual([5_000, 600_000]);
    expect(spec.template.container.startTimeoutMs).toBe(60_000);
  });

  it('have a normal form that is its own normal form', () => {
    fc.assert(
      fc.property(fc.record({ monitorMs: fc.nat(), progressDeadlineMs: fc.nat(), delayMs: fc.nat() }), (times) => {
        const once = normalSpec({ ...web, update: { ...web.update, ...times } });
        expect(normalSpec(once)).toEqual(once);
      }),
    );
  });

  it('answer every text with a flaw or none, never with an exception', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.double(), (text, number) => {
        specFlaw({ ...web, name: text, labels: { [text]: text }, mode: { kind: 'replicated', replicas: number } });
        container({ image: text, user: text, hostname: text, workdir: text, stopSignal: text, env: [text] });
      }),
    );
  });
});
