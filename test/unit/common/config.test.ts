import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadConfig } from '../../../common/config.ts';

const dir = mkdtempSync(join(tmpdir(), 'covey-config-'));
afterAll(() => rmSync(dir, { recursive: true }));

const settings = {
  'state-dir': { kind: 'string', default: '/var/lib/covey', text: 'where state lives' },
  port: { kind: 'integer', default: 2377, text: 'port', min: 1, max: 65_535 },
  etcd: { kind: 'list', default: [], text: 'endpoints' },
} as const;

function load(text: string | undefined, argv: string[] = [], env: Record<string, string> = {}) {
  const file = join(dir, 'agent.json');
  if (text === undefined) rmSync(file, { force: true });
  else writeFileSync(file, text);
  return loadConfig(settings, { program: 'covey-agent', argv, env, defaultFile: file }).config;
}

it('uses defaults when nothing is given', () => {
  expect(load(undefined)).toEqual({ 'state-dir': '/var/lib/covey', port: 2377, etcd: [] });
});

it('prefers a flag to the environment and the environment to the file', () => {
  const env = { COVEY_AGENT_PORT: '2', COVEY_AGENT_STATE_DIR: '/env' };
  expect(load('{"port": 1, "etcd": ["a", "b"]}', ['--port', '3'], env)).toEqual({
    'state-dir': '/env',
    port: 3,
    etcd: ['a', 'b'],
  });
});

it('refuses an unknown key with its line', () => {
  expect(() => load('{\n  "port": 1,\n  "prot": 2\n}')).toThrow(/agent\.json:3: unknown key "prot"/);
});

it('refuses a value out of range and says where it stands', () => {
  expect(() => load('{\n  "port": 70000\n}')).toThrow(/agent\.json:2: "port" must be a whole number from 1 to 65535/);
  expect(() => load(undefined, [], { COVEY_AGENT_PORT: 'x' })).toThrow(/COVEY_AGENT_PORT/);
  expect(() => load(undefined, ['--port', '0'])).toThrow(/--port/);
});

it('refuses an unknown flag', () => {
  expect(() => load(undefined, ['--prot', '1'])).toThrow(/--prot/);
});

it('refuses a file that is not JSON', () => {
  expect(() => load('port = 1')).toThrow(/is not JSON/);
});
