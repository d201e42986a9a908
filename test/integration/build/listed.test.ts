/** Contexts of which only what the node lacks is sent. */
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { BuilderEvent } from '../../../agent/build/builder.ts';
import type { ContextInput } from '../../../agent/build/context-input.ts';
import type { ListedEntry } from '../../../agent/build/listed/listing.ts';
import { ContextStore } from '../../../agent/build/listed/store.ts';
import { treeEntries } from '../../../agent/image/tree.ts';
import { systemClock } from '../../../common/clock.ts';
import { tarOf } from '../../../common/oci/tar-writer.ts';
import { BuildWorld, type Built } from '../../support/build-world.ts';
import { forever } from '../../support/native-world.ts';

const FILE = 'FROM scratch\nCOPY . /\n';

let world: BuildWorld;
let folder: string;
beforeAll(async () => {
  world = await BuildWorld.open();
});
beforeEach(() => {
  folder = mkdtempSync(join(world.native.folder, 'listed-'));
  mkdirSync(join(folder, 'sub'));
  writeFileSync(join(folder, 'large'), Buffer.alloc(3_000_001, folder));
  for (let i = 0; i < 20; i += 1) writeFileSync(join(folder, 'sub', `f${i}`), `${folder} ${i % 10}`);
  writeFileSync(join(folder, 'sub', 'empty'), '');
});
afterAll(() => world.destroy());

const sent = (built: Built): number =>
  built.events.flatMap((event) => (event.kind === 'lacks' ? event.entries : [])).length;
const contents = (): readonly string[] => readdirSync(join(world.native.folder, 'build', 'listed', 'contents'));
const held = async () => (await world.builder.cache.list(forever)).filter(({ id }) => id.startsWith('context:'));

it('sends each content once, then what has changed, and nothing when nothing has', async () => {
  const first = await world.buildIn(folder, FILE);
  expect(sent(first)).toBe(11);
  const again = await world.buildIn(folder, FILE);
  expect([sent(again), again.digest]).toEqual([0, first.digest]);
  appendFileSync(join(folder, 'sub', 'f1'), 'more');
  chmodSync(join(folder, 'sub', 'f2'), 0o600);
  const changed = await world.buildIn(folder, FILE);
  expect(sent(changed)).toBe(1);
  const tree = await world.tree(changed.digest);
  expect(readdirSync(join(tree, 'sub'))).toHaveLength(21);
  const kept = await world.reopened();
  expect((await kept.cache.list(forever)).filter(({ id }) => id.startsWith('context:'))).toHaveLength(1);
});

it('makes of a folder the same as of its tar', async () => {
  const chunks = tarOf(treeEntries({ layers: [{ path: folder, idBase: 0 }] }, forever));
  const file = `${FILE}COPY sub/f1* large /x/\n`;
  await world.buildFrom(chunks, file, {});
  expect((await world.buildIn(folder, file)).steps).toEqual([
    '[1/2] COPY . / cached',
    '[2/2] COPY sub/f1* large /x/ cached',
  ]);
});

it('refuses contents that are not what their listing says, and keeps none of them', async () => {
  const before = contents();
  const entry = { kind: 'file', path: Buffer.from('a'), mode: 0o644, size: 3, digest: Buffer.alloc(32, 7) };
  const built = async (bodies: readonly string[], entries = [entry]): Promise<void> => {
    async function* listing() {
      yield entries;
    }
    async function* pieces() {
      for (const body of bodies) yield Buffer.from(body);
    }
    const input: ContextInput = { kind: 'listed', origin: '0'.repeat(64), listing: listing(), contents: pieces() };
    const wish = { names: ['x:1'], args: {}, labels: {}, secrets: new Map(), usesCache: true, pulls: false };
    const file = { name: 'Dockerfile', text: FILE };
    const network = { network: 'none', allowsHostNetwork: false } as const;
    const events: BuilderEvent[] = [];
    for await (const event of world.builder.build({ ...wish, ...network, dockerfile: file }, input, forever))
      events.push(event);
  };
  await expect(built(['abc'])).rejects.toMatchObject({
    code: 'invalid',
    message: '"a" of the build context is not what was listed',
  });
  await expect(built(['ab'])).rejects.toThrow('ended 1 bytes too early');
  await expect(built(['abc'], [entry, { ...entry, path: Buffer.from('b'), size: 2 }])).rejects.toThrow(
    'a size that cannot be',
  );
  expect(contents()).toEqual(before);
  expect(await world.leftovers()).toEqual([]);
});

it('keeps what the last context of a folder had, until room is needed', async () => {
  await world.buildIn(folder, FILE);
  const before = contents();
  for (let i = 0; i < 10; i += 1) rmSync(join(folder, 'sub', `f${i}`));
  for (let i = 0; i < 10; i += 1) rmSync(join(folder, 'sub', `f1${i}`));
  await world.buildIn(folder, FILE);
  expect(before.filter((name) => !contents().includes(name))).toHaveLength(10);
  const own = (await held()).find(({ bytes }) => bytes === 3_000_001);
  expect(own).toMatchObject({ kind: 'build-cache', name: 'context of built:1', worth: 'spare' });
  expect(await world.builder.cache.remove(own?.id ?? '', forever)).toBe(true);
  expect(await world.builder.cache.remove(own?.id ?? '', forever)).toBe(false);
  expect(sent(await world.buildIn(folder, FILE))).toBe(1);
});

it('says that a content is broken, and takes it anew', async () => {
  await world.buildIn(folder, FILE);
  const before = new Set(contents());
  const other = mkdtempSync(join(world.native.folder, 'listed-'));
  writeFileSync(join(other, 'f'), `of ${other}`);
  await world.buildIn(other, FILE);
  const name = contents().find((each) => !before.has(each)) ?? '';
  writeFileSync(join(world.native.folder, 'build', 'listed', 'contents', name), 'lost');
  const again = world.buildIn(other, FILE, { usesCache: false });
  await expect(again).rejects.toMatchObject({ code: 'unavailable', hint: 'build again: it is sent anew' });
  expect(sent(await world.buildIn(other, FILE, { usesCache: false }))).toBe(1);
});

it('does not remove what a build under way reads', async () => {
  const store = await ContextStore.open(join(world.native.folder, 'own-store'), systemClock);
  const files = (): readonly string[] => readdirSync(join(world.native.folder, 'own-store', 'contents'));
  const take = (body: string) => {
    const digest = createHash('sha256').update(body).digest('hex');
    const entry = { kind: 'file', path: 'a', mode: 0o644, seconds: 0, nanos: 0, size: body.length, digest, link: '' };
    async function* contents() {
      yield Buffer.from(body);
    }
    const context = { origin: '1'.repeat(64), name: 'x', lacks: () => undefined, contents: contents() };
    return store.take({ ...context, listing: [entry as ListedEntry] }, forever);
  };
  const first = await take('one');
  expect(await store.held.remove('1'.repeat(64), forever)).toBe(false);
  const second = await take('another');
  expect(files()).toHaveLength(2);
  await first.release();
  expect(files()).toHaveLength(1);
  await second.release();
  expect(await store.held.remove('1'.repeat(64), forever)).toBe(true);
  expect(files()).toEqual([]);
});
