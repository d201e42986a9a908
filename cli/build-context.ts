/** A folder as the context of a build: a tar of what its ignore file leaves, as it is read. Owners are nobody's business here. */
import { createReadStream, type Dirent } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Ignore, ignoreFileNames, ignoreOf } from '../common/context/ignore.ts';
import { ClusterError, messageOf } from '../common/errors.ts';
import { tarOf } from '../common/oci/tar-writer.ts';
import type { TreeEntry } from '../common/oci/tree-entry.ts';

const READ_BYTES = 512 * 1024;

/**
 * What is left out: by the ignore file beside the Dockerfile, else the context's own.
 *
 * @param dockerfile  its path; absent: it came from elsewhere
 * @throws ClusterError `invalid` naming the line
 */
export async function readIgnore(context: string, dockerfile: string | undefined): Promise<Ignore | undefined> {
  const [beside, own] = ignoreFileNames(dockerfile ?? '');
  for (const path of [...(dockerfile === undefined ? [] : [beside]), join(context, own)]) {
    const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined;
      throw unreadable(path, cause);
    });
    if (text !== undefined) return ignoreOf(text, path);
  }
  return undefined;
}

/** @throws ClusterError `invalid` naming what cannot be read */
export function contextTar(folder: string, ignore: Ignore | undefined): AsyncGenerator<Uint8Array> {
  return tarOf(entriesIn(folder, '', ignore));
}

/** A folder before what is in it, names in order. Sockets are left out. */
async function* entriesIn(root: string, folder: string, ignore: Ignore | undefined): AsyncGenerator<TreeEntry> {
  for (const { name } of await namesIn(join(root, folder))) {
    const path = folder === '' ? name : `${folder}/${name}`;
    const isIgnored = ignore?.ignores(path) === true;
    const entry = await entryAt(join(root, path), path);
    if (entry === undefined) continue;
    if (entry.kind === 'directory') {
      if (isIgnored && ignore?.isWhole(path) === true) continue;
      if (!isIgnored) yield entry;
      yield* entriesIn(root, path, ignore);
    } else if (!isIgnored) {
      yield* entry.kind === 'file' ? withBody(entry, join(root, path)) : [entry];
    }
  }
}

async function namesIn(folder: string): Promise<readonly Dirent[]> {
  try {
    const found = await readdir(folder, { withFileTypes: true });
    return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } catch (cause) {
    throw unreadable(folder, cause);
  }
}

async function entryAt(file: string, path: string): Promise<TreeEntry | undefined> {
  const stat = await lstat(file, { bigint: true }).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  const common = {
    path: Buffer.from(path).toString('latin1'),
    link: '',
    mode: Number(stat.mode) & 0o7777,
    uid: 0,
    gid: 0,
    size: 0,
    seconds: Number(stat.mtimeNs / 1_000_000_000n),
    nanos: Number(stat.mtimeNs % 1_000_000_000n),
    major: 0,
    minor: 0,
    last: true,
    body: null,
    xattrs: [],
  };
  if (stat.isDirectory()) return { ...common, kind: 'directory' };
  if (stat.isFile()) return { ...common, kind: 'file', size: Number(stat.size) };
  if (stat.isFIFO()) return { ...common, kind: 'fifo' };
  if (stat.isSymbolicLink()) return { ...common, kind: 'symlink', link: (await readlink(file, 'latin1')) as string };
  return undefined;
}

/** As many bytes as it had when it was looked at: a tar says the size first. */
async function* withBody(entry: TreeEntry, file: string): AsyncGenerator<TreeEntry> {
  if (entry.size === 0) {
    yield entry;
    return;
  }
  let done = 0;
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES, end: entry.size - 1 })) {
      const body = chunk as Uint8Array;
      const kind = done === 0 ? 'file' : 'append';
      done += body.length;
      yield { ...entry, kind, body, last: done === entry.size };
    }
  } catch (cause) {
    throw unreadable(file, cause);
  }
  if (done < entry.size)
    throw new ClusterError('invalid', `${file} has shrunk while it was read`, { hint: 'try again' });
}

function unreadable(path: string, cause: unknown): ClusterError {
  return new ClusterError('invalid', `${path} cannot be read: ${messageOf(cause)}`, {
    field: '--context',
    hint: 'leave it out by .dockerignore, or make it readable',
    cause,
  });
}
