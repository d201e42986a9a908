/**
 * Writes tar archives: ustar, with PAX records only for what ustar cannot say. The same entries give the same bytes.
 *
 * Names, links and attribute values are byte strings, as in tar.ts. Whiteouts are written as an image layer has them.
 * Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; star(1), SCHILY.xattr; OCI image-spec, layer.md.
 */
import type { TreeEntry } from './tree-entry.ts';

const BLOCK = 512;
const NAME_BYTES_MAX = 100;
/** Of an octal field of eight and of twelve bytes. */
const SHORT_MAX = 0o7777777;
const LONG_MAX = 0o77777777777;
const FLAGS: Readonly<Record<TreeEntry['kind'], string>> = {
  file: '0',
  append: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
  whiteout: '0',
  opaque: '0',
};

/** A header's fields. */
interface Header {
  readonly flag: string;
  readonly path: string;
  readonly entry: Pick<TreeEntry, 'link' | 'mode' | 'uid' | 'gid' | 'size' | 'seconds' | 'major' | 'minor'>;
}

/** The archive of `entries`, in their order; the root itself has no entry. Bodies are handed on without copying. */
export async function* tarOf(entries: AsyncIterable<TreeEntry>): AsyncGenerator<Uint8Array> {
  let written = 0;
  for await (const entry of entries) {
    if (entry.kind !== 'append') {
      if (entry.path === '' && entry.kind === 'directory') continue;
      yield headersOf(entry);
      written = 0;
    }
    if (entry.kind !== 'file' && entry.kind !== 'append') continue;
    if (entry.body !== null && entry.body.length > 0) yield entry.body;
    written += entry.body?.length ?? 0;
    const padding = (BLOCK - (written % BLOCK)) % BLOCK;
    if (entry.last && padding > 0) yield Buffer.alloc(padding);
  }
  yield Buffer.alloc(2 * BLOCK);
}

/** The entry's header, behind its PAX records when it needs some. */
function headersOf(entry: TreeEntry): Buffer {
  const path = nameOf(entry);
  const header = headerBytes({ flag: FLAGS[entry.kind], path, entry: withoutHidden(entry) });
  const records = paxOf(entry, path);
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const plain = { link: '', mode: 0o644, uid: 0, gid: 0, size: body.length, seconds: 0, major: 0, minor: 0 };
  const pax = headerBytes({ flag: 'x', path: `PaxHeaders.0/${path.slice(0, NAME_BYTES_MAX - 13)}`, entry: plain });
  return Buffer.concat([pax, body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK), header]);
}

function nameOf({ kind, path }: TreeEntry): string {
  if (kind === 'directory') return `${path}/`;
  if (kind === 'opaque') return path === '' ? '.wh..wh..opq' : `${path}/.wh..wh..opq`;
  if (kind !== 'whiteout') return path;
  const slash = path.lastIndexOf('/') + 1;
  return `${path.slice(0, slash)}.wh.${path.slice(slash)}`;
}

function withoutHidden(entry: TreeEntry): Header['entry'] {
  if (entry.kind !== 'whiteout' && entry.kind !== 'opaque') return entry;
  return { ...entry, mode: 0, uid: 0, gid: 0, seconds: 0 };
}

function paxOf(entry: TreeEntry, path: string): readonly Buffer[] {
  const records: [string, string][] = [];
  if (entry.xattrs.length > 0) {
    const sorted = entry.xattrs.toSorted(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, value] of sorted) records.push([`SCHILY.xattr.${name}`, value]);
  }
  if (entry.gid > SHORT_MAX) records.push(['gid', String(entry.gid)]);
  if (entry.link.length > NAME_BYTES_MAX) records.push(['linkpath', entry.link]);
  if (entry.nanos !== 0 || entry.seconds < 0 || entry.seconds > LONG_MAX) records.push(['mtime', timeText(entry)]);
  if (path.length > NAME_BYTES_MAX) records.push(['path', path]);
  if (entry.size > LONG_MAX) records.push(['size', String(entry.size)]);
  if (entry.uid > SHORT_MAX) records.push(['uid', String(entry.uid)]);
  return records.map(([key, value]) => record(key, value));
}

/** Seconds with their fraction; `nanos` counts upwards from negative seconds too. */
function timeText({ seconds, nanos }: TreeEntry): string {
  const isNegative = seconds < 0;
  const whole = isNegative && nanos > 0 ? -seconds - 1 : Math.abs(seconds);
  const rest = isNegative && nanos > 0 ? 1_000_000_000 - nanos : nanos;
  const fraction = rest === 0 ? '' : `.${String(rest).padStart(9, '0').replace(/0+$/, '')}`;
  return `${isNegative ? '-' : ''}${whole}${fraction}`;
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts itself. */
function record(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`, 'latin1');
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function headerBytes({ flag, path, entry }: Header): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, length: number, at: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  const clamped = (value: number, max: number): number => (value < 0 || value > max ? 0 : value);
  header.write(path.slice(0, NAME_BYTES_MAX), 0, 'latin1');
  octal(entry.mode, 8, 100);
  octal(clamped(entry.uid, SHORT_MAX), 8, 108);
  octal(clamped(entry.gid, SHORT_MAX), 8, 116);
  octal(clamped(entry.size, LONG_MAX), 12, 124);
  octal(clamped(entry.seconds, LONG_MAX), 12, 136);
  header.write(flag, 156, 'latin1');
  header.write(entry.link.slice(0, NAME_BYTES_MAX), 157, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  octal(entry.major, 8, 329);
  octal(entry.minor, 8, 337);
  header.fill(' ', 148, 156);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}
