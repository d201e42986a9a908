/** Builds beside each other, given up, out of room, and after one another. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BuilderEvent } from '../../../agent/build/builder.ts';
import { BuildWorld } from '../../support/build-world.ts';
import { LoopDisk } from '../../support/loop-disk.ts';
import { forever } from '../../support/native-world.ts';
import { until } from '../../support/until.ts';

let world: BuildWorld;
beforeEach(async () => {
  world = await BuildWorld.open();
  await world.addBase('base:1');
});
afterEach(() => world.destroy());

const outcomes = (steps: readonly string[]): readonly string[] => steps.map((step) => step.split(' ').at(-1) ?? '');

/** Nothing but the cache holds a layer then. */
async function dropImages(): Promise<void> {
  for (const { digest } of await world.images.list()) await world.images.remove(digest, forever);
  await world.images.sweep(forever);
}

describe('the cache', () => {
  const file = 'FROM base:1\nRUN echo one > /one\nCOPY . /c\nRUN cat /c/f > /copied\nLABEL a=b\n';

  it('gives the very image again when nothing has changed, though files were touched', async () => {
    const first = await world.build(file, { context: 'echo 1 > f; touch -d @1000 f' });
    const second = await world.build(file, { context: 'echo 1 > f; touch -d @2000 f' });
    expect(outcomes(second.steps.slice(1))).toEqual(['cached', 'cached', 'cached']);
    expect(second.digest).toBe(first.digest);
  });

  it('does anew what depends on what has changed, and nothing before it', async () => {
    await world.build(file, { context: 'echo 1 > f' });
    const other = await world.build(file, { context: 'echo 2 > f' });
    expect(outcomes(other.steps.slice(1))).toEqual(['cached', 'done', 'done']);
    const label = await world.build(file.replace('a=b', 'a=c'), { context: 'echo 1 > f' });
    expect(outcomes(label.steps.slice(1))).toEqual(['cached', 'cached', 'cached']);
    const mode = await world.build(file, { context: 'echo 1 > f; chmod 600 f' });
    expect(outcomes(mode.steps.slice(1))).toEqual(['cached', 'done', 'done']);
    const none = await world.build(file, { context: 'echo 1 > f', usesCache: false });
    expect(outcomes(none.steps.slice(1))).toEqual(['done', 'done', 'done']);
  });

  it('outlives its agent, keeps its layers from collection, and goes entry by entry', async () => {
    await world.build(file, { context: 'echo 1 > f' });
    const builder = await world.reopened();
    await dropImages();
    const again = await world.build(file, { context: 'echo 1 > f' }, forever, builder);
    expect(outcomes(again.steps.slice(1))).toEqual(['cached', 'cached', 'cached']);
    const held = await builder.cache.list(forever);
    expect(held.every(({ worth }) => worth === 'spare')).toBe(true);
    for (const { id } of held) expect(await builder.cache.remove(id, forever)).toBe(true);
    await dropImages();
    expect(await world.images.folders.list()).toEqual([]);
    const anew = await world.build(file, { context: 'echo 1 > f' }, forever, builder);
    expect(outcomes(anew.steps.slice(1))).toEqual(['done', 'done', 'done']);
  });
});

describe('a cache mount', () => {
  const mounts = async () => (await world.builder.cache.list(forever)).filter(({ id }) => id.startsWith('mount:'));

  it('is counted, goes when room is needed, and is then begun anew', async () => {
    const file =
      'FROM base:1\nRUN --mount=type=cache,target=/own/cache ls /own/cache; head -c 1000000 /dev/zero > /own/cache/f\n';
    await world.build(file);
    const mount = (await mounts()).find(({ name }) => name === 'cache mount /own/cache');
    expect(mount).toMatchObject({ kind: 'build-cache', worth: 'spare' });
    expect(mount?.bytes).toBeGreaterThanOrEqual(1_000_000);
    expect((await world.build(file, { usesCache: false })).output).toBe('f\n');
    expect(await world.builder.cache.remove(mount?.id ?? '', forever)).toBe(true);
    expect((await mounts()).map(({ id }) => id)).not.toContain(mount?.id);
    expect((await world.build(file, { usesCache: false })).output).toBe('');
  });

  it('stays while a step has it, and whatever it began with is whole', async () => {
    const file =
      'FROM base:1\nRUN --mount=type=cache,target=/busy/cache,from=base:1,source=/etc,uid=5,mode=0700 stat -c %a:%u /busy/cache; ls /busy/cache; echo begun; until [ -e /busy/cache/go ]; do sleep 1; done\n';
    const building = world.build(file);
    await until('a command runs', 10_000, async () => (await world.native.runtime.list(forever)).length > 0);
    const mount = (await mounts()).find(({ name }) => name === 'cache mount /busy/cache');
    expect(mount?.worth).toBe('needed');
    expect(await world.builder.cache.remove(mount?.id ?? '', forever)).toBe(false);
    writeFileSync(join(world.native.folder, 'build', 'caches', mount?.id.slice('mount:'.length) ?? '', 'go'), '');
    expect((await building).output).toBe('700:5\ngroup\npasswd\nbegun\n');
  });
});

describe('builds at once', () => {
  it('share a step that both need', async () => {
    const file = 'FROM base:1\nRUN echo ran; sleep 1; date +%s%N > /when\n';
    const both = await Promise.all([world.build(file, { names: ['a'] }), world.build(file, { names: ['b'] })]);
    expect(both[0].digest).toBe(both[1].digest);
    expect(both.map(({ output }) => output).join('')).toBe('ran\n');
  });

  it('go on when who began a step has gone', async () => {
    const file = 'FROM base:1\nRUN echo begun; sleep 1; echo 1 > /f\nCOPY . /c\n';
    const stop = new AbortController();
    const first = world.build(file, { context: 'echo 1 > f' }, stop.signal);
    const second = world.build(file, { context: 'echo 1 > f', names: ['second'] });
    await until('a command runs', 10_000, async () => (await world.native.runtime.list(forever)).length > 0);
    stop.abort(new Error('the user has gone'));
    await expect(first).rejects.toThrow('the user has gone');
    expect(readdirSync(await world.tree((await second).digest))).toEqual(expect.arrayContaining(['c', 'f']));
    expect(await world.leftovers()).toEqual([]);
  });

  it('do stages that do not need one another side by side', async () => {
    const meet = (own: string, other: string): string =>
      `RUN --mount=type=cache,target=/m touch /m/${own}; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do [ -e /m/${other} ] && exit 0; sleep 1; done; exit 1`;
    const { digest } = await world.build(
      `FROM base:1 AS a\n${meet('a', 'b')}\nFROM base:1 AS b\n${meet('b', 'a')}\nFROM scratch\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n`,
    );
    expect(readdirSync(await world.tree(digest)).toSorted()).toEqual(['a', 'b']);
  });

  it('have locked caches one after the other', async () => {
    const step = (n: number): string =>
      `FROM base:1 AS s${n}\nRUN --mount=type=cache,target=/m,sharing=locked [ ! -e /m/busy ] && touch /m/busy && sleep 1 && rm /m/busy\n`;
    await world.build(`${step(1)}${step(2)}FROM scratch\nCOPY --from=s1 /bin/true /1\nCOPY --from=s2 /bin/true /2\n`);
  });
});

describe('a build that is given up', () => {
  async function untilOutput(events: AsyncGenerator<BuilderEvent>): Promise<void> {
    for (let next = await events.next(); next.done !== true; next = await events.next())
      if (next.value.kind === 'output') return;
  }

  const wish = (text: string) => ({
    names: ['given:up'],
    dockerfile: { name: 'Dockerfile', text },
    args: {},
    labels: {},
    secrets: new Map([['s', Buffer.from('x')]]),
    usesCache: true,
    pulls: false,
    network: 'none' as const,
    allowsHostNetwork: false,
  });
  const file = 'FROM base:1\nRUN echo first > /f\nRUN --mount=type=secret,id=s echo running; sleep 1000\n';

  it('ends its command and leaves nothing, but what it had done', async () => {
    const stop = new AbortController();
    const events = world.builder.build(wish(file), { kind: 'none' }, stop.signal);
    await untilOutput(events);
    stop.abort(new Error('the user has gone'));
    await expect(events.next()).rejects.toThrow('the user has gone');
    expect(await world.leftovers()).toEqual([]);
    const after = await world.build('FROM base:1\nRUN echo first > /f\n');
    expect(outcomes(after.steps.slice(1))).toEqual(['cached']);
  });

  it('is so as well when nobody reads on', async () => {
    const events = world.builder.build(wish(file), { kind: 'none' }, forever);
    await untilOutput(events);
    await events.return(undefined);
    expect(await world.leftovers()).toEqual([]);
  });

  it('ends the other stages when one fails', async () => {
    const failing =
      'FROM base:1 AS a\nRUN sleep 1000\nFROM base:1 AS b\nRUN exit 3\nFROM scratch\nCOPY --from=a / /a\nCOPY --from=b / /b\n';
    await expect(world.build(failing)).rejects.toMatchObject({ message: expect.stringContaining('code: 3') });
    expect(await world.leftovers()).toEqual([]);
  });
});

it('says that the disk is full, and gives the room back', async () => {
  const disk = new LoopDisk(world.native.folder, { mib: 80 });
  const before = process.env.TMPDIR;
  process.env.TMPDIR = disk.path;
  const small = await BuildWorld.open();
  try {
    await small.addBase('base:1');
    const big = 'FROM base:1\nCOPY . /big\n';
    await expect(small.build(big, { context: 'head -c 30000000 /dev/urandom > f' })).rejects.toMatchObject({
      code: 'exhausted',
    });
    // One of the two finds room, and goes with the build.
    const folder = world.folderOf('for i in 1 2; do head -c 50000000 /dev/urandom > f$i; done');
    await expect(small.buildIn(folder, big)).rejects.toMatchObject({ code: 'exhausted' });
    expect(readdirSync(join(small.native.folder, 'build', 'listed', 'contents'))).toEqual([]);
    await expect(
      small.build('FROM base:1\nRUN dd if=/dev/zero of=/f bs=1M count=100 2>/dev/null\n'),
    ).rejects.toMatchObject({
      code: 'invalid',
    });
    expect(readdirSync(join(small.native.folder, 'build', 'work'))).toEqual([]);
    expect(existsSync(join(small.native.folder, 'state'))).toBe(true);
    expect((await small.build('FROM base:1\nRUN echo fits > /f\n')).steps.at(-1)).toContain('done');
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
    await small.destroy();
    disk.remove();
  }
});
