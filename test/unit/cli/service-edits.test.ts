import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { createSpec, updatedSpec } from '../../../cli/flags/service-edits.ts';
import { emptySpec } from '../../../cli/flags/service-flags.ts';
import { environmentFile, ports, words } from '../../../cli/flags/values.ts';
import type { Digest } from '../../../common/model/ids.ts';

const dir = mkdtempSync(join(tmpdir(), 'covey-cli-'));
afterAll(() => rmSync(dir, { recursive: true }));

it('makes a spec with Docker’s defaults from nothing but an image', () => {
  const spec = createSpec('web:1', [], {}, {});
  expect({ ...spec, name: '' }).toEqual(emptySpec('web:1'));
  expect(spec.name).toMatch(/^[a-z]+_[a-z]+$/);
  expect(emptySpec('web:1')).toMatchObject({
    mode: { replicas: 1 },
    template: { container: { stopGraceMs: 10_000 }, restart: { condition: 'any', delayMs: 5_000 } },
    update: { parallelism: 1, monitorMs: 5_000, failureAction: 'pause', order: 'stop-first' },
  });
});

it.each([
  ['8080:80', [{ protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' }]],
  ['80', [{ protocol: 'tcp', target: 80, published: 0, mode: 'ingress' }]],
  ['53:53/udp', [{ protocol: 'udp', target: 53, published: 53, mode: 'ingress' }]],
  [
    '8000-8001:80-81',
    [
      { protocol: 'tcp', target: 80, published: 8000, mode: 'ingress' },
      { protocol: 'tcp', target: 81, published: 8001, mode: 'ingress' },
    ],
  ],
  ['published=8080,target=80,mode=host', [{ protocol: 'tcp', target: 80, published: 8080, mode: 'host' }]],
  ['target=80,protocol=udp', [{ protocol: 'udp', target: 80, published: 0, mode: 'ingress' }]],
])('reads the port %s', (text, expected) => expect(ports(text, '--publish')).toEqual(expected));

it.each([
  '',
  '0:80',
  '65536:80',
  '80/sctp',
  '80/tcp/udp',
  '10.0.0.1:80:80',
  '8000-8002:80-81',
  'target=80,colour=red',
  'mode=host',
])('refuses the port "%s"', (text) => {
  expect(() => ports(text, '--publish')).toThrow(expect.objectContaining({ code: 'invalid', field: '--publish' }));
});

it.each([
  ['/bin/web -p 80', ['/bin/web', '-p', '80']],
  [`sh -c 'a "b"' ""`, ['sh', '-c', 'a "b"', '']],
  ['a\\ b', ['a b']],
])('splits the command line %s as a shell does', (line, expected) =>
  expect(words(line, '--entrypoint')).toEqual(expected),
);

it('refuses a command line whose quote is not closed', () => expect(() => words('a "b', '--args')).toThrow(/quote/));

it('takes variables from a file and from the caller’s environment', () => {
  const file = join(dir, 'env');
  writeFileSync(file, '# comment\nA=1\n\nFROM_HOME\nABSENT\n');
  expect(environmentFile(file, { FROM_HOME: 'x' })).toEqual(['A=1', 'FROM_HOME=x']);
  const spec = createSpec('web:1', ['serve'], { env: ['B=2', 'FROM_HOME'], envFile: [file] }, { FROM_HOME: 'x' });
  expect(spec.template.container).toMatchObject({ env: ['A=1', 'FROM_HOME=x', 'B=2', 'FROM_HOME=x'], args: ['serve'] });
});

it('gives up the user namespace on request, and takes it back', () => {
  const spec = createSpec('web:1', [], { userns: 'host' }, {});
  expect(spec.template.container.userns).toBe('host');
  expect(updatedSpec(spec, { userns: '' }, {}).template.container.userns).toBeUndefined();
  expect(() => createSpec('web:1', [], { userns: 'private' }, {})).toThrow(
    expect.objectContaining({ field: '--userns' }),
  );
});

it('names the file that cannot be read', () => {
  expect(() => environmentFile(join(dir, 'none'), {})).toThrow(/none/);
});

it('names the flag whose value is out of range', () => {
  expect(() => createSpec('web:1', [], { updateMaxFailureRatio: '1.5' }, {})).toThrow(
    expect.objectContaining({ field: '--update-max-failure-ratio' }),
  );
  expect(() => createSpec('web:1', [], { restartCondition: 'always' }, {})).toThrow(/restart|"always"/);
  expect(() => createSpec('web:1', [], { rollbackFailureAction: 'rollback' }, {})).toThrow(
    expect.objectContaining({ field: '--rollback-failure-action' }),
  );
});

it('builds a health check from its command and what refines it', () => {
  const { health } = createSpec('web:1', [], { healthInterval: '1s', healthCmd: 'true', healthRetries: '5' }, {})
    .template.container;
  expect(health).toEqual({
    kind: 'command',
    check: {
      test: ['CMD-SHELL', 'true'],
      intervalMs: 1_000,
      timeoutMs: 30_000,
      retries: 5,
      startPeriodMs: 0,
      startIntervalMs: 5_000,
    },
  });
  expect(() => createSpec('web:1', [], { healthInterval: '1s' }, {})).toThrow(/--health-cmd|health command/);
  expect(() => createSpec('web:1', [], { healthcheck: false, healthCmd: 'true' }, {})).toThrow(/combined/);
});

it('leaves alone what an update does not name, and drops the old image’s digest with the image', () => {
  const base = emptySpec('web:1');
  const before = {
    ...base,
    name: 'web',
    labels: { a: '1' },
    template: {
      ...base.template,
      container: { ...base.template.container, imageDigest: 'sha256:x' as Digest, env: ['A=1', 'B=2'] },
    },
  };
  expect(updatedSpec(before, {}, {})).toEqual(before);
  const after = updatedSpec(
    before,
    { image: 'web:2', envAdd: ['A=9'], envRm: ['B'], labelRm: ['a'], labelAdd: ['b=2'], force: true },
    {},
  );
  expect(after.labels).toEqual({ b: '2' });
  expect(after.template.container.image).toBe('web:2');
  expect(after.template.container.imageDigest).toBeUndefined();
  expect(after.template.container.env).toEqual(['A=9']);
  expect(after.template.forceUpdate).toBe(1);
});

it('replaces and removes published ports by target, and refuses one that is not there', () => {
  const before = createSpec('web:1', [], { publish: ['8080:80', '53:53/udp'] }, {});
  expect(updatedSpec(before, { publishRm: ['80'] }, {}).ports.map((port) => port.target)).toEqual([53]);
  expect(updatedSpec(before, { publishAdd: ['8080:81'] }, {}).ports.map((port) => port.target)).toEqual([53, 81]);
  expect(() => updatedSpec(before, { publishRm: ['99'] }, {})).toThrow(/99/);
});

it('takes log driver and options; an update replaces the options and keeps the driver', () => {
  const created = createSpec('web:1', [], { logDriver: 'json-file', logOpt: ['max-size=5m', 'max-file=2'] }, {});
  expect(created.template.container.log).toEqual({
    driver: 'json-file',
    options: { 'max-size': '5m', 'max-file': '2' },
  });
  const smaller = updatedSpec(created, { logOpt: ['max-size=1m'] }, {});
  expect(smaller.template.container.log).toEqual({ driver: 'json-file', options: { 'max-size': '1m' } });
  expect(updatedSpec(smaller, { logDriver: 'none' }, {}).template.container.log).toEqual({
    driver: 'none',
    options: {},
  });
  expect(updatedSpec(smaller, { logDriver: '' }, {}).template.container.log).toBeUndefined();
  expect(createSpec('web:1', [], { logOpt: ['max-size=5m'] }, {}).template.container.log?.driver).toBe('local');
});
