/** What only a host that systemd has booted can show: containers outlive their agent's unit, in a scope of their own. */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cgroupParent } from '../../../agent/runtime/cgroup-parent.ts';
import { systemClock } from '../../../common/clock.ts';
import { builtFile, native } from '../../../native/index.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';
import { until } from '../../support/until.ts';

const UNITS = fileURLToPath(new URL('../../../deploy/systemd', import.meta.url));
const STARTER = fileURLToPath(new URL('../../support/native-starter.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const AGENT = 'covey-test-agent.service';
/** tsx transforms the starter on an emulated processor. */
const STARTED_MS = 300_000;

let world: NativeWorld;
let path = '';

const scope = () =>
  cgroupParent({
    configured: '/covey',
    addon: native(),
    shimPath: builtFile('covey-shim'),
    run: async (command, args) => (await promisify(execFile)(command, [...args])).stdout,
    sleep: (ms) => systemClock.sleep(ms, forever),
  });

beforeAll(async () => {
  world = new NativeWorld();
  path = await scope();
});
afterAll(() => world.destroy());

it('keeps the containers in a delegated scope of the slice, and takes an existing one over', async () => {
  expect(path).toBe('/covey.slice/covey-containers.scope');
  expect(await scope()).toBe(path);
  const properties = execFileSync('systemctl', ['show', '-p', 'Delegate,ActiveState', 'covey-containers.scope'], {
    encoding: 'utf8',
  });
  expect(properties.trim().split('\n').toSorted()).toEqual(['ActiveState=active', 'Delegate=yes']);
});

it('limits a container in the scope', async () => {
  const runtime = world.newRuntime({ cgroupParent: path });
  const request = world.request(['eat', '64'], { limits: { memoryBytes: 32 << 20 } });
  const { id } = await runtime.create(request, forever);
  await runtime.start(id, forever);
  expect(await runtime.wait(id, forever)).toMatchObject({ oomKilled: true });
  await runtime.remove(id);
  runtime.close();
});

it('lets a container live when the unit of its agent is restarted and stopped', async () => {
  const state = join(world.folder, 'state-of-unit');
  const command = [process.execPath, '--import', 'tsx', STARTER, state, path, world.layer, 'sleep'];
  const properties = ['--property=KillMode=process', `--property=WorkingDirectory=${ROOT}`];
  execFileSync('systemd-run', ['--quiet', `--unit=${AGENT}`, ...properties, ...command]);
  const runtime = world.newRuntime({ cgroupParent: path, stateDir: state });
  const running = async () => {
    const identity = await native().containerIdentify(join(state, 'kept'));
    return identity?.life === 'running' ? identity : undefined;
  };
  const { pid, startTime } = await until('the unit has started its container', STARTED_MS, running);
  expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(`${path}/kept`);
  execFileSync('systemctl', ['restart', AGENT]);
  expect(native().processAlive(pid, startTime)).toBe(true);
  execFileSync('systemctl', ['stop', AGENT]);
  expect(native().processAlive(pid, startTime)).toBe(true);
  await runtime.list(forever);
  await runtime.remove('kept');
  expect(native().processAlive(pid, startTime)).toBe(false);
  runtime.close();
});

it('has units that systemd takes without a complaint', () => {
  const units = ['covey-agent.service', 'covey-manager.service', 'covey.slice'].map((name) => join(UNITS, name));
  expect(execFileSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8', stdio: 'pipe' })).toBe('');
});
