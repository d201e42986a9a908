/**
 * Our own files for `cp`: a tree as entries, and an archive's entries as files. What comes from a container is written through no
 * link that it brought along.
 */
import { createReadStream } from 'node:fs';
import {
  chmod,
  lchown,
  link,
  lstat,
  lutimes,
  mkdir,
  open,
  readdir,
  readlink,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { ClusterError } from '../common/errors.ts';
import { shown, type TarEntry, TarReader } from '../common/oci/tar.ts';
import type { TreeEntry } from '../common/oci/tree-entry.ts';
import { renamedPath } from './copy-rules.ts';

const PIECE_BYTES = 512 * 1024;
const PLAIN = { link: '', size: 0, major: 0, minor: 0, last: true, body: null, xattrs: [] } as const;

/** A tree of ours; paths are byte strings. @param follow  a link at the top is what it leads to */
export async function* localEntries(root: string, top: string, follow: boolean): AsyncGenerator<TreeEntry> {
  yield* entriesOf(bytes(root), latin(top), follow);
}

async function* entriesOf(path: Buffer, name: string, follow: boolean): AsyncGenerator<TreeEntry> {
  const found = await (follow ? stat(path) : lstat(path));
  const seconds = Math.floor(found.mtimeMs / 1_000);
  const nanos = Math.floor((found.mtimeMs - seconds * 1_000) * 1e6);
  const { uid, gid } = found;
  const base = { ...PLAIN, path: name, mode: found.mode & 0o7777, uid, gid, seconds, nanos };
  if (found.isSymbolicLink())
    yield { ...base, kind: 'symlink', link: (await readlink(path, 'buffer')).toString('latin1') };
  else if (found.isFile()) yield* fileEntries(path, { ...base, kind: 'file', size: found.size });
  else if (found.isFIFO()) yield { ...base, kind: 'fifo' };
  else if (found.isDirectory()) {
    yield { ...base, kind: 'directory' };
    const names = await readdir(path, { encoding: 'buffer' });
    for (const each of names.toSorted(Buffer.compare)) {
      const below = each.toString('latin1');
      yield* entriesOf(Buffer.concat([path, Buffer.from('/'), each]), name === '' ? below : `${name}/${below}`, false);
    }
  }
}

/** A file that shrinks meanwhile is filled up, one that grows is cut: its size has been said. */
async function* fileEntries(path: Buffer, head: TreeEntry): AsyncGenerator<TreeEntry> {
  yield { ...head, last: head.size === 0 };
  let left = head.size;
  if (left === 0) return;
  for await (const chunk of createReadStream(path, { highWaterMark: PIECE_BYTES, end: head.size - 1 })) {
    const body = chunk as Buffer;
    left -= body.length;
    yield { ...head, kind: 'append', body, last: left === 0 };
  }
  while (left > 0) {
    const body = Buffer.alloc(Math.min(left, PIECE_BYTES));
    left -= body.length;
    yield { ...head, kind: 'append', body, last: left === 0 };
  }
}

export interface Unpacking {
  /** Of ours, there. */
  readonly folder: string;
  /** The archive's top, and what it is to be called; empty: what is in it goes into `folder`. */
  readonly base: string;
  readonly top: string;
  readonly keepsOwner: boolean;
}

/** Writes an archive's entries. @throws ClusterError `invalid` for names that leave the folder, or lead through a link */
export async function unpackHere(source: AsyncIterable<Uint8Array>, unpacking: Unpacking): Promise<void> {
  const tar = new TarReader(source, 'the copied tar');
  const folders: { readonly path: Buffer; readonly entry: TarEntry }[] = [];
  try {
    for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
      const path = await placeOf(entry.path, unpacking);
      if (path === undefined) continue;
      await write(tar, entry, path, unpacking);
      if (entry.kind === 'directory') folders.push({ path, entry });
      else if (entry.kind !== 'hardlink') await dress(path, entry, unpacking);
    }
  } finally {
    await tar.close();
  }
  // Last: what is put into a folder changes its time, and its mode might not allow it.
  for (const { path, entry } of folders.toReversed()) await dress(path, entry, unpacking);
}

/** Undefined for the folder itself that everything goes into. */
async function placeOf(name: string, { folder, base, top }: Unpacking): Promise<Buffer | undefined> {
  const clean = name.split('/').filter((part) => part !== '' && part !== '.');
  if (clean.includes('..'))
    throw new ClusterError('invalid', `the copied tar has the name "${shown(name)}", which leaves it`);
  const path = renamedPath(clean.join('/'), latin(base), latin(top));
  if (path === '') return undefined;
  const parts = path.split('/');
  for (let count = 1; count < parts.length; count += 1) {
    const way = within(folder, parts.slice(0, count).join('/'));
    const found = await lstat(way).catch(() => undefined);
    if (found !== undefined && !found.isDirectory()) {
      throw new ClusterError('invalid', `"${way.toString('utf8')}" is no folder, but something is to be put into it`);
    }
  }
  return within(folder, path);
}

async function write(tar: TarReader, entry: TarEntry, path: Buffer, unpacking: Unpacking): Promise<void> {
  const before = await lstat(path).catch(() => undefined);
  if (entry.kind === 'directory') {
    if (before === undefined) await mkdir(path, { mode: 0o700 });
    else if (!before.isDirectory()) throw cannotOverwrite(path, 'non-directory');
    return;
  }
  if (before?.isDirectory()) throw cannotOverwrite(path, 'directory');
  if (before !== undefined) await rm(path);
  if (entry.kind === 'symlink') await symlink(Buffer.from(entry.link, 'latin1'), path);
  else if (entry.kind === 'hardlink') {
    const target = await placeOf(entry.link, unpacking);
    if (target !== undefined) await link(target, path);
  } else if (entry.kind === 'file') await writeFile(tar, path);
}

async function writeFile(tar: TarReader, path: Buffer): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    for (let piece = await tar.chunk(PIECE_BYTES); piece !== undefined; piece = await tar.chunk(PIECE_BYTES)) {
      await file.writeFile(piece);
    }
  } finally {
    await file.close();
  }
}

async function dress(path: Buffer, entry: TarEntry, { keepsOwner }: Unpacking): Promise<void> {
  // Devices and pipes are not copied.
  if (entry.kind !== 'file' && entry.kind !== 'directory' && entry.kind !== 'symlink') return;
  if (keepsOwner) await lchown(path, entry.uid, entry.gid);
  if (entry.kind !== 'symlink') await chmod(path, entry.mode & 0o7777);
  const time = entry.mtime.seconds + entry.mtime.nanos / 1e9;
  await lutimes(path, time, time);
}

function cannotOverwrite(path: Buffer, what: string): ClusterError {
  return new ClusterError('conflict', `cannot overwrite ${what} "${path.toString('utf8')}" with another kind of file`);
}

function within(folder: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(folder.endsWith('/') ? folder : `${folder}/`), Buffer.from(path, 'latin1')]);
}

function bytes(text: string): Buffer {
  return Buffer.from(text);
}

function latin(text: string): string {
  return Buffer.from(text).toString('latin1');
}
