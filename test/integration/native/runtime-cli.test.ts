import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RuntimeWorld } from '../../support/runtime-world.ts';
import { until } from '../../support/until.ts';

const SLEEPER = ['sleep', '1000'];
/** Says that it can take the signal, then that it has. */
const TRAPPER = ['sh', '-c', "trap 'echo got' USR1; echo ready; while :; do sleep 1000 & wait $!; done"];
const SOON_MS = 20_000;

let world: RuntimeWorld;
beforeAll(() => {
  world = new RuntimeWorld();
});
afterAll(() => world.destroy());

function refused(...args: readonly string[]): string {
  const { status, err } = world.call(...args);
  expect(status).toBe(1);
  return err();
}

describe('create', () => {
  it('makes a container whose process does not run before it is started', async () => {
    const { id, called } = world.created(['echo', 'process called']);
    expect(world.state(id).status).toBe('created');
    expect(called.out()).toBe('');
    world.done('start', id);
    await world.stopped(id);
    expect(called.out()).toBe('process called\n');
  });

  it('tells the state as the specification has it', () => {
    const { id, bundle } = world.created(SLEEPER, { top: { annotations: { 'org.example': 'yes' } } });
    const state = world.state(id);
    expect(state).toMatchObject({ id, bundle, status: 'created', annotations: { 'org.example': 'yes' } });
    expect(state.ociVersion).toMatch(/^1\.\d+\.\d+$/);
    expect(existsSync(`/proc/${state.pid}`)).toBe(true);
  });

  it('writes the pid of the first process', () => {
    const file = join(world.folder, 'pid');
    const id = world.name();
    world.done('create', '--bundle', world.bundle(SLEEPER), '--pid-file', file, id);
    expect(Number(readFileSync(file, 'utf8'))).toBe(world.state(id).pid);
  });

  it('refuses what it cannot make, and leaves nothing of it', () => {
    const bundle = world.bundle(SLEEPER);
    const { id } = world.created(SLEEPER);
    expect(refused('create', '--bundle', bundle)).toContain('exactly one container id');
    expect(refused('create', '--bundle', bundle, id)).toContain(`"${id}" exists already`);
    expect(refused('create', '--bundle', bundle, '../x')).toContain('must be 1 to 255');
    expect(refused('create', '--bundle', world.folder, 'x')).toContain('has no config.json');
    expect(refused('create', '--no-pivot', '--bundle', bundle, 'x')).toContain('--no-pivot is refused');
    expect(refused('create', '--bundle', world.bundle(['/no/such']), 'x')).toContain('/no/such: No such file');
    expect(existsSync(join(world.root, 'x'))).toBe(false);
  });

  it('makes one container of an id when several are asked for at once', async () => {
    const id = world.name();
    const bundle = world.bundle(SLEEPER);
    const calls = await Promise.all([1, 2, 3, 4].map(() => world.calling('create', '--bundle', bundle, id)));
    expect(calls.filter(({ status }) => status === 0)).toHaveLength(1);
    expect(world.state(id).status).toBe('created');
  });

  it('keeps to the config it has read', async () => {
    const { id, bundle, called } = world.created(['echo', 'before']);
    world.writeConfig(bundle, ['echo', 'after']);
    world.done('start', id);
    await world.stopped(id);
    expect(called.out()).toBe('before\n');
  });
});

describe('start', () => {
  it('is refused for what is not created, and has no effect then', async () => {
    expect(refused('start')).toContain('exactly one container id');
    expect(refused('start', 'nobody')).toContain('"nobody" does not exist');
    const { id, called } = world.started(['sh', '-c', 'echo once; sleep 1000']);
    expect(refused('start', id)).toContain('is running; only a created one');
    world.done('kill', id, 'KILL');
    await world.stopped(id);
    expect(refused('start', id)).toContain('is stopped; only a created one');
    expect(called.out()).toBe('once\n');
  });

  it('says so when there is no process to run', async () => {
    const bundle = world.bundle(SLEEPER);
    const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as { process?: object };
    delete config.process;
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
    const id = world.name();
    world.done('create', '--bundle', bundle, id);
    expect(world.call('start', id).err()).toContain('has no process');
    await world.stopped(id);
  });
});

describe('kill', () => {
  it('sends the signal to the process', async () => {
    const { id, called } = world.started(TRAPPER);
    await until('the trap is set', SOON_MS, () => called.out() === 'ready\n');
    world.done('kill', id, 'USR1');
    await until('the trap is taken', SOON_MS, () => called.out() === 'ready\ngot\n');
    world.done('kill', id, '9');
    await world.stopped(id);
  });

  it('ends one that was never started', async () => {
    const { id } = world.created(SLEEPER);
    world.done('kill', id, 'KILL');
    await world.stopped(id);
  });

  it('reaches every process with --all', async () => {
    const { id } = world.started(['sh', '-c', 'sleep 1000 & sleep 1000 & wait'], {
      linux: { namespaces: ['ipc', 'uts', 'mount', 'network'].map((type) => ({ type })) },
    });
    const pids = () => JSON.parse(world.done('ps', '--format', 'json', id).out()) as number[];
    await until('three processes', SOON_MS, () => pids().length === 3);
    world.done('kill', '--all', id, 'KILL');
    await until('none is left', SOON_MS, () => pids().length === 0);
  });

  it('is refused for what does not run', async () => {
    const { id } = world.started(['true']);
    await world.stopped(id);
    expect(refused('kill', id, 'KILL')).toContain('is not running');
    expect(refused('kill', 'nobody', 'KILL')).toContain('does not exist');
    expect(refused('kill', id, 'NOSUCH')).toContain('unknown signal "NOSUCH"');
  });
});

describe('delete', () => {
  it('is refused while the container is created or runs, and has no effect then', () => {
    for (const { id } of [world.created(SLEEPER), world.started(SLEEPER)]) {
      const before = world.state(id);
      expect(refused('delete', id)).toContain('kill it first');
      expect(world.state(id)).toEqual(before);
    }
    expect(refused('delete', 'nobody')).toContain('does not exist');
  });

  it('removes what create has made, and only that', async () => {
    const { id, bundle } = world.started(['true']);
    await world.stopped(id);
    const cgroup = world.cgroupFolder(bundle, 'pids');
    expect(existsSync(cgroup)).toBe(true);
    world.done('delete', id);
    expect(existsSync(join(world.root, id))).toBe(false);
    expect(existsSync(cgroup)).toBe(false);
    expect(readdirSync(bundle).sort()).toEqual(['config.json', 'rootfs']);
    expect(refused('state', id)).toContain('does not exist');
  });

  it('ends what runs with --force, and is content when there is nothing', () => {
    const { id } = world.started(SLEEPER);
    const { pid } = world.state(id);
    world.done('delete', '--force', id);
    expect(existsSync(`/proc/${pid}/root`)).toBe(false);
    world.done('delete', '--force', id);
  });
});

describe('run', () => {
  it('ends as its process ends and leaves nothing', () => {
    expect(world.ran(['sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
      status: 7,
      output: 'out\n',
      error: 'err\n',
    });
    expect(world.ran(['sh', '-c', 'kill -9 $$'], { linux: { namespaces: [{ type: 'mount' }] } }).status).toBe(137);
  });
});

describe('a container that lives', () => {
  it('is paused, resumed, limited and counted', () => {
    const { id } = world.started(SLEEPER);
    world.done('pause', id);
    expect(world.state(id).status).toBe('paused');
    expect(refused('exec', id, 'true')).toContain('is paused');
    world.done('resume', id);
    expect(world.state(id).status).toBe('running');
    world.done('update', '--pids-limit', '77', id);
    const event = JSON.parse(world.done('events', '--stats', id).out()) as { data: { pids: object } };
    expect(event.data.pids).toEqual({ current: 1, limit: 77 });
    expect(world.done('ps', id).out()).toContain('sleep 1000');
    expect(world.done('list').out()).toContain(id);
  });
});

describe('the command line', () => {
  it('refuses what it does not know by name', () => {
    expect(refused('checkpoint', 'x')).toContain('checkpoint is not supported');
    expect(refused('frobnicate')).toContain('unknown command "frobnicate"');
    expect(refused('create', '--frobnicate', 'x')).toContain('frobnicate');
    expect(refused('--cgroup-manager', 'other', 'list')).toContain('--cgroup-manager must be');
  });

  it('writes errors as JSON lines where the caller asks for it', () => {
    const log = join(world.folder, 'log');
    refused('--log', log, '--log-format', 'json', 'start', 'nobody');
    const { level, msg, time } = JSON.parse(readFileSync(log, 'utf8')) as Record<string, string>;
    expect({ level, msg }).toEqual({ level: 'error', msg: 'container "nobody" does not exist' });
    expect(Math.abs(Date.parse(time ?? '') - Date.now())).toBeLessThan(60_000);
  });

  it('tells what it can', () => {
    const features = JSON.parse(world.done('features').out()) as { ociVersionMin: string; hooks: string[] };
    expect(features.ociVersionMin).toBe('1.0.0');
    expect(features.hooks).toEqual([
      'prestart',
      'createRuntime',
      'createContainer',
      'startContainer',
      'poststart',
      'poststop',
    ]);
  });
});
