/** Where systemd manages cgroups, covey-runtime gets a container's from it: one scope each, in the slice that was asked for. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hostFacts } from '../../../agent/runtime/host-facts.ts';
import { ociConfig } from '../../../agent/runtime/oci-config.ts';
import { builtFile, native } from '../../../native/index.ts';
import { NativeWorld } from '../../support/native-world.ts';
import { until } from '../../support/until.ts';

const MIB = 1 << 20;
const GONE_MS = 20_000;

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

/** Runs a command of the runtime's; what it said. Its streams become the container's, so they are a file. */
function runtime(...args: readonly string[]): { readonly status: number | null; readonly said: string } {
  const path = join(world.folder, 'said');
  const said = openSync(path, 'w');
  const global = ['--root', join(world.folder, 'runtime'), '--systemd-cgroup'];
  const { status } = spawnSync(builtFile('covey-runtime'), [...global, ...args], { stdio: ['ignore', said, said] });
  return { status, said: readFileSync(path, 'utf8') };
}

function bundled(id: string, cgroupsPath: string): string {
  const bundle = join(world.folder, id);
  mkdirSync(bundle);
  const user = { uid: 0, gid: 0, additionalGids: [], home: '/root' };
  const config = ociConfig({ ...world.request(['sleep']), user, cgroup: '', files: [], host: hostFacts() });
  const resources = { memory: { limit: 32 * MIB } };
  const linux = { ...config.linux, resources, cgroupsPath };
  writeFileSync(
    join(bundle, 'config.json'),
    JSON.stringify({ ...config, linux, root: { path: world.layer, readonly: true } }),
  );
  return bundle;
}

const property = (unit: string, name: string) =>
  execFileSync('systemctl', ['show', '--property', name, '--value', unit], { encoding: 'utf8' }).trim();

it('a container lives in a delegated scope of its slice, and its limits outlive a reload of systemd', async () => {
  const pidFile = join(world.folder, 'pid');
  const bundle = bundled('one', 'covey-vm.slice:covey:one');
  expect(runtime('create', '--bundle', bundle, '--pid-file', pidFile, 'one')).toEqual({ status: 0, said: '' });
  const unit = 'covey-one.scope';
  const path = `/covey.slice/covey-vm.slice/${unit}`;
  expect(property(unit, 'Delegate')).toBe('yes');
  expect(property(unit, 'ControlGroup')).toBe(path);
  const cgroups = readFileSync(`/proc/${readFileSync(pidFile, 'utf8')}/cgroup`, 'utf8');
  expect(cgroups).toContain(`:${path}/container\n`);
  expect(runtime('start', 'one').status).toBe(0);
  execFileSync('systemctl', ['daemon-reload']);
  const { memory } = await native().cgroupStats(`${path}/container`);
  expect(memory.limitBytes).toBe(32 * MIB);
  expect(property(unit, 'ActiveState')).toBe('active');
  expect(runtime('delete', '--force', 'one').status).toBe(0);
  await until('the scope is gone', GONE_MS, () => property(unit, 'ActiveState') === 'inactive');
});

it('a scope that exists is not taken over', () => {
  expect(runtime('create', '--bundle', bundled('two', ':covey:taken'), 'two').status).toBe(0);
  const again = runtime('create', '--bundle', bundled('three', ':covey:taken'), 'three');
  expect(again.status).not.toBe(0);
  expect(again.said).toContain('covey-taken.scope');
  expect(runtime('state', 'three').status).not.toBe(0);
  expect(runtime('delete', '--force', 'two').status).toBe(0);
});

it('a plain path is refused where systemd shall manage the cgroup', () => {
  const { status, said } = runtime('create', '--bundle', bundled('four', '/four'), 'four');
  expect(status).not.toBe(0);
  expect(said).toContain('linux.cgroupsPath');
});
