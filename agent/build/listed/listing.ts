/**
 * The listing of a build's context, as a client sends it. Comes in: messages that nobody has looked at. Goes out: entries whose paths stay
 * beneath the context, each in a folder that is listed before it, within the limits of a layer.
 */
import { ClusterError } from '../../../common/errors.ts';
import { LAYER_LIMITS, type LayerLimits } from '../../../common/oci/layer.ts';
import { shown } from '../../../common/oci/tar.ts';
import type { covey } from '../../../proto/messages.ts';

export interface ListedEntry {
  readonly kind: 'file' | 'directory' | 'symlink' | 'fifo';
  /** Byte string, relative, clean; never empty. */
  readonly path: string;
  /** 0–0o7777 */
  readonly mode: number;
  readonly seconds: number;
  /** 0–999999999 */
  readonly nanos: number;
  /** Of a file; else 0. */
  readonly size: number;
  /** Of a file with content: its SHA-256 in hexadecimal digits; else empty. */
  readonly digest: string;
  /** Of a symlink, as it is read: byte string; else empty. */
  readonly link: string;
}

const KINDS = ['file', 'directory', 'symlink', 'fifo'] as const;
/** Linux, PATH_MAX and NAME_MAX. */
const PATH_BYTES_MAX = 4_095;
const NAME_BYTES_MAX = 255;
const DIGEST_BYTES = 32;
const NANOS_MAX = 999_999_999;

/** The whole listing, in its order. @throws ClusterError `invalid` naming the entry */
export async function readListing(
  messages: AsyncIterable<readonly covey.v1.ContextEntry.$Properties[]>,
  limits: LayerLimits = LAYER_LIMITS,
): Promise<readonly ListedEntry[]> {
  const entries: ListedEntry[] = [];
  const kinds = new Map<string, ListedEntry['kind']>([['', 'directory']]);
  let bytes = 0;
  for await (const message of messages) {
    for (const each of message) {
      const entry = entryOf(each);
      const { path } = entry;
      const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')));
      if (kinds.has(path)) throw refused(`"${shown(path)}" is listed twice`);
      if (kinds.get(folder) !== 'directory')
        throw refused(`"${shown(path)}" lies in no folder that is listed before it`);
      kinds.set(path, entry.kind);
      entries.push(entry);
      bytes += entry.size;
      if (entries.length > limits.entries) throw refused(`it has more than ${limits.entries} entries`);
      if (bytes > limits.bytes) throw refused(`it has more than ${limits.bytes} bytes`);
    }
  }
  return entries;
}

function entryOf(message: covey.v1.ContextEntry.$Properties): ListedEntry {
  const path = text(message.path);
  const kind = KINDS.find((each) => each === message.kind);
  if (!isClean(path)) throw refused(`entry "${shown(path)}" has no sound name`);
  if (kind === undefined) throw refused(`"${shown(path)}" is of an unknown kind`);
  const { mode = 0, seconds = 0, nanos = 0 } = message;
  const isSound = mode >= 0 && mode <= 0o7777 && nanos >= 0 && nanos <= NANOS_MAX && Number.isSafeInteger(seconds);
  if (!isSound) throw refused(`the mode or the time of "${shown(path)}" cannot be`);
  const common = { path, mode, seconds, nanos, size: 0, digest: '', link: '' };
  if (kind === 'symlink') return { ...common, kind, link: linkOf(message.link, path) };
  return kind === 'file' ? { ...common, kind, ...contentOf(message, path) } : { ...common, kind };
}

function isClean(path: string): boolean {
  if (path.length > PATH_BYTES_MAX || path.includes('\0')) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= NAME_BYTES_MAX);
}

function linkOf(bytes: Uint8Array | undefined, path: string): string {
  const link = text(bytes);
  if (link !== '' && link.length <= PATH_BYTES_MAX && !link.includes('\0')) return link;
  throw refused(`the link "${shown(path)}" leads nowhere`);
}

function contentOf(
  { size = 0, digest }: covey.v1.ContextEntry.$Properties,
  path: string,
): Pick<ListedEntry, 'size' | 'digest'> {
  if (!Number.isSafeInteger(size) || size < 0) throw refused(`the size of "${shown(path)}" cannot be`);
  if (size === 0) return { size, digest: '' };
  if (digest?.length !== DIGEST_BYTES) throw refused(`"${shown(path)}" has no digest`);
  return { size, digest: Buffer.from(digest).toString('hex') };
}

function text(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function refused(why: string): ClusterError {
  return new ClusterError('invalid', `the listing of the build context is refused: ${why}`);
}
