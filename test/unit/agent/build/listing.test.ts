import { describe, expect, it } from 'vitest';
import { readListing } from '../../../../agent/build/listed/listing.ts';
import { ListedTree } from '../../../../agent/build/listed/tree.ts';
import type { covey } from '../../../../proto/messages.ts';

type Entry = covey.v1.ContextEntry.$Properties;

const stop = new AbortController().signal;
const text = (value: string): Buffer => Buffer.from(value, 'latin1');
const folder = (path: string): Entry => ({ kind: 'directory', path: text(path), mode: 0o755 });
const link = (path: string, to: string): Entry => ({ kind: 'symlink', path: text(path), mode: 0o777, link: text(to) });
const file = (path: string, byte = 1): Entry => ({
  kind: 'file',
  path: text(path),
  mode: 0o644,
  size: 3,
  digest: Buffer.alloc(32, byte),
});

async function* messages(...entries: readonly Entry[]): AsyncGenerator<readonly Entry[]> {
  for (const entry of entries) yield [entry];
}

describe('a listing', () => {
  it.each<[string, readonly Entry[]]>([
    ['no sound name', [file('')]],
    ['no sound name', [file('/a')]],
    ['no sound name', [file('a/')]],
    ['no sound name', [file('..')]],
    ['no sound name', [folder('a'), file('a/../b')]],
    ['no sound name', [file('a\0b')]],
    ['no sound name', [file('x'.repeat(256))]],
    ['in no folder that is listed before it', [file('a/b')]],
    ['in no folder that is listed before it', [file('a'), file('a/b')]],
    ['in no folder that is listed before it', [link('a', '/etc'), file('a/b')]],
    ['listed twice', [file('a'), folder('a')]],
    ['of an unknown kind', [{ ...file('a'), kind: 'block' }]],
    ['has no digest', [{ ...file('a'), digest: Buffer.alloc(31) }]],
    ['the size of "a" cannot be', [{ ...file('a'), size: -1 }]],
    ['the mode or the time', [{ ...file('a'), mode: 0o10000 }]],
    ['the mode or the time', [{ ...file('a'), nanos: 1e9 }]],
    ['leads nowhere', [link('a', '')]],
  ])('is refused because %s: %j', async (why, entries) => {
    const read = readListing(messages(...entries));
    await expect(read).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining(why) });
  });

  it('is refused beyond the limits of a layer', async () => {
    const read = (limits: { entries: number; bytes: number }) => readListing(messages(file('a'), file('b')), limits);
    await expect(read({ entries: 1, bytes: 100 })).rejects.toThrow('more than 1 entries');
    await expect(read({ entries: 2, bytes: 5 })).rejects.toThrow('more than 5 bytes');
    expect(await read({ entries: 2, bytes: 6 })).toHaveLength(2);
  });
});

describe('a listed tree', () => {
  async function tree(...entries: readonly Entry[]): Promise<ListedTree> {
    return new ListedTree(await readListing(messages(...entries)), 0, async function* (digest) {
      yield Buffer.from(digest.slice(0, 3));
    });
  }

  it('follows links in folders, at its end when it is asked to, and never out of itself', async () => {
    const listed = await tree(
      folder('a'),
      file('a/f'),
      link('a/up', '../../../../a'),
      link('b', '/a'),
      link('c', 'b/f'),
      link('lost', 'nowhere/x'),
    );
    const find = async (path: string, follow = true) => {
      const { path: at, entry } = await listed.lookUp(path, { follow });
      return `${at} ${entry?.kind ?? 'is not there'}`;
    };
    expect(await find('b/f')).toBe('a/f file');
    expect(await find('c')).toBe('a/f file');
    expect(await find('c', false)).toBe('c symlink');
    expect(await find('b/up/up/f')).toBe('a/f file');
    expect(await find('../../a/f')).toBe('a/f file');
    expect(await find('lost')).toBe('nowhere/x is not there');
    expect(await find('')).toBe(' directory');
    expect(await listed.names('b')).toEqual(['f', 'up']);
    expect(await listed.names('c')).toEqual([]);
  });

  it('says what is wrong with a circle, and with a file that is taken for a folder', async () => {
    const listed = await tree(link('a', 'b'), link('b', 'a'), file('f'));
    await expect(listed.lookUp('a/x', { follow: true })).rejects.toThrow('lead in a circle');
    await expect(listed.lookUp('f/x', { follow: true })).rejects.toThrow('"/f" is no folder');
    await expect(listed.entries('none', stop).next()).rejects.toThrow('it is not there');
  });

  it('tells entries in order of their bytes, a folder before what is in it, from where it is asked to begin', async () => {
    const listed = await tree(folder('b'), file('b/z'), folder('b/a-'), folder('b/a'), file('b/a/x'), link('l', 'b'));
    const told: string[] = [];
    for await (const { path } of listed.entries('', stop)) told.push(path);
    expect(told).toEqual(['', 'b', 'b/a', 'b/a/x', 'b/a-', 'b/z', 'l']);
    const below: string[] = [];
    for await (const { entry, digest } of listed.digests('l/a', stop))
      below.push(`${entry.path} ${digest.slice(0, 4)}`);
    expect(below).toEqual([' ', 'x 0101']);
  });
});
