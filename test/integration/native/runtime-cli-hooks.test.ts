import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RuntimeWorld, type State } from '../../support/runtime-world.ts';

const KINDS = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const;
type Kind = (typeof KINDS)[number];

let world: RuntimeWorld;
beforeAll(() => {
  world = new RuntimeWorld();
});
afterAll(() => world.destroy());

interface Hook {
  readonly path: string;
  readonly args: readonly string[];
  readonly env?: readonly string[];
  readonly timeout?: number;
}

const sh = (script: string, more: Partial<Hook> = {}): Hook => ({
  path: '/bin/sh',
  args: ['sh', '-c', script],
  env: ['PATH=/usr/bin:/bin'],
  ...more,
});

/** Where hooks write: a folder that the container sees at the same path. */
function notes(): { place: string; mounts: readonly object[]; read: (name: string) => string } {
  const place = join(world.folder, world.name());
  return {
    place,
    mounts: [{ destination: place, source: '/tmp', options: ['rbind'] }],
    read: (name) => readFileSync(`${place}${name}`, 'utf8'),
  };
}

describe('hooks', () => {
  it('run in the order of the specification, twice each kind as listed, and the process between', async () => {
    const { place, read } = notes();
    const each = (kind: Kind): Hook[] => [1, 2].map((n) => sh(`echo ${kind} ${n} >> ${place}`));
    // The container's own hook sees the container's files only: it writes where its root has the same place.
    const inside = [1, 2].map((n) => sh(`echo startContainer ${n} >> /tmp/notes`, { path: '/bin/sh' }));
    const hooks = { ...Object.fromEntries(KINDS.map((kind) => [kind, each(kind)])), startContainer: inside };
    const { id, bundle } = world.created(['sh', '-c', 'echo process >> /tmp/notes'], { top: { hooks } });
    const before = ['prestart', 'createRuntime', 'createContainer'].flatMap((kind) => [`${kind} 1`, `${kind} 2`]);
    expect(read('').trim().split('\n')).toEqual(before);
    world.done('start', id);
    await world.stopped(id);
    world.done('delete', id);
    expect(readFileSync(join(bundle, 'rootfs/tmp/notes'), 'utf8')).toBe(
      'startContainer 1\nstartContainer 2\nprocess\n',
    );
    expect(read('').trim().split('\n').slice(before.length)).toEqual([
      'poststart 1',
      'poststart 2',
      'poststop 1',
      'poststop 2',
    ]);
  });

  it('get the state on stdin, with the status of their time', async () => {
    const { place, read } = notes();
    const hooks = Object.fromEntries(
      KINDS.map((kind) => [kind, [kind === 'startContainer' ? sh('cat > /tmp/state') : sh(`cat > ${place}.${kind}`)]]),
    );
    const { id, bundle } = world.created(['true'], { top: { hooks, annotations: { a: 'b' } } });
    const { pid } = world.state(id);
    world.done('start', id);
    await world.stopped(id);
    world.done('delete', id);
    const stateIn = (kind: Kind): State =>
      JSON.parse(
        kind === 'startContainer' ? readFileSync(join(bundle, 'rootfs/tmp/state'), 'utf8') : read(`.${kind}`),
      ) as State;
    const states = KINDS.map((kind) => [kind, stateIn(kind).status, stateIn(kind).pid]);
    expect(states).toEqual([
      ['prestart', 'created', pid],
      ['createRuntime', 'creating', pid],
      ['createContainer', 'creating', 1],
      ['startContainer', 'created', 1],
      ['poststart', 'running', pid],
      ['poststop', 'stopped', 0],
    ]);
    for (const kind of KINDS) expect(stateIn(kind)).toMatchObject({ id, bundle, annotations: { a: 'b' } });
  });

  it('run in the namespaces that are theirs, with their own environment only', () => {
    const { place, read } = notes();
    const look = (kind: Kind) =>
      sh(`{ readlink /proc/self/ns/mnt; readlink /proc/self/ns/net; /usr/bin/env; } > ${place}.${kind}`, {
        env: ['PATH=/usr/bin:/bin', `ONLY=${kind}`],
      });
    const hooks = Object.fromEntries(
      (['createRuntime', 'createContainer'] as const).map((kind) => [kind, [look(kind)]]),
    );
    const { id } = world.created(['sleep', '1000'], { top: { hooks } });
    const { pid } = world.state(id);
    const [runtime, container] = ['.createRuntime', '.createContainer'].map((name) => read(name).trim().split('\n'));
    const spaces = (of: number | 'self') => ['mnt', 'net'].map((type) => readlinkSync(`/proc/${of}/ns/${type}`));
    expect(runtime?.slice(0, 2)).toEqual(spaces('self'));
    expect(container?.slice(0, 2)).toEqual(spaces(pid));
    const variables = runtime?.slice(2).filter((line) => !/^(_|PWD|SHLVL|OLDPWD)=/.test(line));
    expect(variables?.sort()).toEqual(['ONLY=createRuntime', 'PATH=/usr/bin:/bin']);
  });
});

describe('a hook that fails', () => {
  it.each(['prestart', 'createRuntime', 'createContainer'] as const)(
    'stops the container from being created when it is %s, and poststop runs',
    (kind) => {
      const { place, read } = notes();
      const hooks = { [kind]: [sh('echo for a reason; exit 3')], poststop: [sh(`echo after >> ${place}`)] };
      const id = world.name();
      const { status, err } = world.call('create', '--bundle', world.bundle(['true'], { top: { hooks } }), id);
      expect(status).toBe(1);
      expect(err()).toContain('running a hook: /bin/sh: exit status 3: for a reason');
      expect(existsSync(join(world.root, id))).toBe(false);
      expect(read('')).toBe('after\n');
    },
  );

  it('stops the start when it is startContainer', async () => {
    const { id, called } = world.created(['echo', 'ran'], { top: { hooks: { startContainer: [sh('exit 1')] } } });
    const { status, err } = world.call('start', id);
    expect(status).toBe(1);
    expect(err()).toContain('exit status 1');
    await world.stopped(id);
    expect(called.out()).toBe('');
  });

  it('is a warning when it is poststart or poststop, and the next one runs', async () => {
    const { place, read } = notes();
    const both = (kind: Kind) => [sh('exit 1'), sh(`echo ${kind} >> ${place}`)];
    const hooks = { poststart: both('poststart'), poststop: both('poststop') };
    const { id } = world.created(['true'], { top: { hooks } });
    expect(world.done('start', id).err()).toContain('warning: container');
    await world.stopped(id);
    expect(world.done('delete', id).err()).toContain('poststop hook /bin/sh: exit status 1');
    expect(read('')).toBe('poststart\npoststop\n');
  });

  it('is killed with all it has started when its time is up', () => {
    const hooks = { createRuntime: [sh('sleep 1000 & sleep 1000', { timeout: 1 })] };
    const { status, err } = world.call('create', '--bundle', world.bundle(['true'], { top: { hooks } }), world.name());
    expect(status).toBe(1);
    expect(err()).toContain('timed out after 1000 ms');
  });

  it('is refused before anything is made when it cannot be one', () => {
    const refusal = (hook: object) =>
      world
        .call('create', '--bundle', world.bundle(['true'], { top: { hooks: { prestart: [hook] } } }), world.name())
        .err();
    expect(refusal({ path: 'relative' })).toContain('hooks.prestart.path');
    expect(refusal({ path: '/bin/sh', timeout: 0 })).toContain('hooks.prestart.timeout');
  });
});
