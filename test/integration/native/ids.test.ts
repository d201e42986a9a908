import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RANGE_SIZE } from '../../../agent/runtime/id-ranges.ts';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { reasonOf, userNamespaces } from '../../../agent/runtime/user-namespaces.ts';
import { builtFile } from '../../../native/index.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';

const POOL = { base: 1_600_000_000, count: 3 };
const at = (number: number) => POOL.base + number * RANGE_SIZE;
let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld({ userns: { pool: { ...POOL, count: 64 } } });
});
afterAll(() => world.destroy());

/** The host's id of its root. */
function rootOf(container: Container): number {
  return Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${container.pid}/status`, 'utf8'))?.[1]);
}

describe('the ids of containers', () => {
  it('are a range for each, kept over a restart of the agent, free again when it is removed', async () => {
    const first = await world.started(['sleep']);
    const second = await world.started(['sleep']);
    expect([rootOf(first), rootOf(second)]).toEqual([at(0), at(1)]);
    const later = world.newRuntime({ userns: { pool: POOL } });
    const third = await later.create(world.request(['sleep']), forever);
    expect(rootOf(third)).toBe(at(2));
    const attempt = later.create(world.request(['sleep']), forever);
    await expect(attempt).rejects.toMatchObject({
      code: 'exhausted',
      message: expect.stringContaining('all 3 ranges'),
    });
    await later.list(forever);
    await later.remove(first.id);
    const fourth = await later.create(world.request(['sleep']), forever);
    expect(rootOf(fourth)).toBe(at(0));
    for (const { id } of [second, third, fourth]) await later.remove(id);
    later.close();
  });

  it("are the host's for a service that wants them", async () => {
    const container = await world.started(['sleep'], { template: { userns: 'host' } });
    expect(rootOf(container)).toBe(0);
    expect(readFileSync(`/proc/${container.pid}/uid_map`, 'utf8').trim().split(/\s+/)).toEqual([
      '0',
      '0',
      '4294967295',
    ]);
    await world.runtime.remove(container.id);
  });

  it('are not held by a container that could not be made', async () => {
    const fresh = world.newRuntime({ userns: { pool: POOL } });
    for (let i = 0; i < 4; i += 1) {
      const attempt = fresh.create(world.request([], { template: { entrypoint: ['/nowhere'] } }), forever);
      await expect(attempt).rejects.toMatchObject({ code: 'invalid' });
    }
    fresh.close();
  });

  it('own what the container writes, and files placed by the host are its root’s inside', async () => {
    const files = [{ target: '/etc/hosts', content: 'x\n' }];
    const { output, container } = await world.ran(['stat', '/etc/hosts'], { files });
    expect(output).toContain('uid=0 gid=0');
    const upper = join(world.folder, 'state', container.id, 'upper');
    expect(statSync(upper)).toMatchObject({ uid: rootId(container.id), gid: rootId(container.id) });
  });

  it('let a health command run as the same user', async () => {
    const container = await world.started(['sleep'], { template: { user: '1234' } });
    const request = { args: ['/bin/init', 'report'], env: [], timeoutMs: 10_000, outputMaxBytes: 65_536 };
    const { output } = await world.runtime.exec(container.id, request, forever);
    expect(output).toContain('uid=1234\n');
    expect(output).toContain(`ns.user=user:[`);
    expect(/ns\.user=(\S+)/.exec(output)?.[1]).not.toBe(/ns\.user=(\S+)/.exec(await hostReport())?.[1]);
  });

  it('refuse a user that the range does not hold, by name', async () => {
    const attempt = world.runtime.create(world.request(['report'], { template: { user: '65536' } }), forever);
    await expect(attempt).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('process.user.uid'),
    });
  });
});

describe('a host without user namespaces', () => {
  it('refuses what does not ask for the host’s, with the reason and the way out', async () => {
    const poor = world.newRuntime({ userns: { pool: POOL, unfit: 'no kernel support' } });
    await expect(poor.create(world.request(['report']), forever)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('no kernel support'),
      hint: expect.stringContaining('--userns host'),
    });
    const made = await poor.create(world.request(['report'], { template: { userns: 'host' } }), forever);
    await poor.remove(made.id);
    poor.close();
  });

  it('is told from one that has them by a probe of its file system', async () => {
    const shimPath = builtFile('covey-shim');
    const ask = (folder: string) => userNamespaces({ setting: '7:65536', folder, shimPath }, forever);
    expect(await ask(world.folder)).toEqual({ pool: { base: 7, count: 1 } });
    expect(await ask('/sys')).toMatchObject({ unfit: 'the file system of /sys cannot show files under other ids' });
    expect(reasonOf('error\n28\nmapping\nclone3\n', '/x')).toContain('user.max_user_namespaces');
    expect(reasonOf('', '/x')).toContain('no answer');
  });
});

function rootId(id: string): number {
  const note = JSON.parse(readFileSync(join(world.folder, 'state', id, 'container.json'), 'utf8')) as {
    readonly ids: { readonly base: number };
  };
  return note.ids.base;
}

async function hostReport(): Promise<string> {
  return (await world.ran(['report'], { template: { userns: 'host' } })).output;
}
