/**
 * Reads tar archives: ustar, PAX and GNU, one entry after the other.
 *
 * Names, links and attribute values are byte strings (one character a byte, latin1): file names need not be UTF-8, and
 * `security.capability` never is. tar-stream decodes both as UTF-8, which is why this reader is our own (ADR 0008).
 * Nothing is interpreted here: that a path may escape is layer.ts's business.
 * Source: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; tar(5).
 */
import { ClusterError } from '../errors.ts';
import { ByteSource } from './byte-source.ts';
import { attributesOf, timeOf } from './tar-pax.ts';

export type TarKind = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

export interface TarEntry {
  readonly kind: TarKind;
  /** Byte string, as it stands in the archive. */
  readonly path: string;
  /** Byte string; target of links, else empty. */
  readonly link: string;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the body; 0 but for files. */
  readonly size: number;
  readonly mtime: Time;
  /** Byte strings. */
  readonly xattrs: readonly Xattr[];
}

/** Seconds may be negative; nanos are 0–999999999 and count upwards. */
export interface Time {
  readonly seconds: number;
  readonly nanos: number;
}

export type Xattr = readonly [name: string, value: string];

const BLOCK = 512;
/** Long names and attributes of one entry; Linux ends paths at 4,096 bytes and attributes at 64 KiB each. */
const EXTENSION_BYTES_MAX = 1024 * 1024;
/** Extensions that may precede one entry. */
const EXTENSIONS_MAX = 8;
const KINDS: Readonly<Record<string, TarKind>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
};

interface Extensions {
  readonly pax: Map<string, string>;
  path?: string;
  link?: string;
}

export class TarReader {
  readonly #source: ByteSource;
  readonly #name: string;
  #entries = 0;
  /** Body bytes not read yet, and the padding behind them. */
  #left = 0;
  #padding = 0;

  /** @param name  what errors call the archive */
  constructor(source: AsyncIterable<Uint8Array>, name: string) {
    this.#source = new ByteSource(source);
    this.#name = name;
  }

  /**
   * The next entry, passing over what is left of the current one's body; undefined at the archive's end, to which the
   * source is then read.
   *
   * @throws ClusterError `invalid` naming archive and entry
   */
  async next(): Promise<TarEntry | undefined> {
    await this.#skip(this.#left + this.#padding);
    this.#left = 0;
    this.#padding = 0;
    const extensions: Extensions = { pax: new Map() };
    for (let count = 0; count <= EXTENSIONS_MAX; count += 1) {
      const header = await this.#header();
      if (header === undefined) {
        if (count > 0) throw this.#broken('it ends behind an extended header');
        return undefined;
      }
      const flag = String.fromCharCode(header[156] as number);
      if (!(await this.#extend(flag, header, extensions))) return this.#entry(flag, header, extensions);
    }
    throw this.#broken(`entry ${this.#entries + 1} has more than ${EXTENSIONS_MAX} extended headers`);
  }

  /** The next piece of the current entry's body, at most `max` bytes; undefined at its end. Shares the source's memory. */
  async chunk(max: number): Promise<Buffer | undefined> {
    if (this.#left === 0) return undefined;
    const piece = await this.#source.some(Math.min(this.#left, max));
    if (piece === undefined) throw this.#broken('it is cut off inside an entry');
    this.#left -= piece.length;
    return piece;
  }

  /** Ends the source early. */
  close(): Promise<void> {
    return this.#source.close();
  }

  async #header(): Promise<Buffer | undefined> {
    const header = await this.#source.take(BLOCK);
    if (header === undefined) return undefined;
    if (header.length < BLOCK) throw this.#broken('it is cut off inside a header');
    if (isZero(header)) {
      // One zero block already ends it, as for Go; what follows only counts for digests.
      while ((await this.#source.some(1024 * 1024)) !== undefined);
      return undefined;
    }
    if (!hasRightSum(header)) throw this.#broken(`the header of entry ${this.#entries + 1} has a wrong checksum`);
    return header;
  }

  /** True when the header was an extension of the entry that follows. */
  async #extend(flag: string, header: Buffer, extensions: Extensions): Promise<boolean> {
    if (flag !== 'x' && flag !== 'g' && flag !== 'L' && flag !== 'K') return false;
    const size = this.#number(header, 124, 12, 'size');
    if (size > EXTENSION_BYTES_MAX) throw this.#broken(`an extended header has ${size} bytes`);
    const bytes = await this.#source.take(size);
    if ((bytes?.length ?? 0) < size) throw this.#broken('it is cut off inside an extended header');
    const body = Buffer.from(bytes ?? []);
    await this.#skip(paddingOf(size));
    if (flag === 'x') this.#pax(body, extensions.pax);
    if (flag === 'L') extensions.path = untilNul(body.toString('latin1'));
    if (flag === 'K') extensions.link = untilNul(body.toString('latin1'));
    // Global headers (g) are comments in practice; Docker ignores them too.
    return true;
  }

  /** Records `LENGTH KEY=VALUE\n`. */
  #pax(body: Buffer, records: Map<string, string>): void {
    for (let at = 0; at < body.length; ) {
      const space = body.indexOf(0x20, at);
      const digits = space === -1 ? '' : body.toString('latin1', at, Math.min(space, at + 10));
      const length = /^[1-9]\d*$/.test(digits) ? Number(digits) : 0;
      const end = at + length;
      if (length < 5 || end > body.length || body[end - 1] !== 0x0a) throw this.#broken('a PAX record is malformed');
      const record = body.toString('latin1', space + 1, end - 1);
      const equals = record.indexOf('=');
      if (equals < 1) throw this.#broken('a PAX record is malformed');
      records.set(record.slice(0, equals), record.slice(equals + 1));
      at = end;
    }
  }

  #entry(flag: string, header: Buffer, extensions: Extensions): TarEntry {
    this.#entries += 1;
    const { pax } = extensions;
    const path = pax.get('path') ?? extensions.path ?? nameOf(header);
    const kind = KINDS[flag];
    if (flag === 'S' || [...pax.keys()].some((key) => key.startsWith('GNU.sparse.'))) {
      throw this.#broken(`entry "${shown(path)}" is a sparse file`, 'pack it without --sparse');
    }
    if (kind === undefined) throw this.#broken(`entry "${shown(path)}" has the unknown type ${JSON.stringify(flag)}`);
    const isFolder = kind === 'directory' || (kind === 'file' && flag === '\0' && path.endsWith('/'));
    const size = kind === 'file' && !isFolder ? this.#size(header, pax) : 0;
    this.#left = size;
    this.#padding = paddingOf(size);
    return {
      kind: isFolder ? 'directory' : kind,
      path,
      link:
        kind === 'hardlink' || kind === 'symlink'
          ? (pax.get('linkpath') ?? extensions.link ?? text(header, 157, 100))
          : '',
      mode: this.#number(header, 100, 8, 'mode') & 0o7777,
      uid: this.#paxNumber(pax, 'uid') ?? this.#number(header, 108, 8, 'uid'),
      gid: this.#paxNumber(pax, 'gid') ?? this.#number(header, 116, 8, 'gid'),
      size,
      mtime: timeOf(pax.get('mtime')) ?? { seconds: this.#number(header, 136, 12, 'mtime', true), nanos: 0 },
      xattrs: attributesOf(pax),
    };
  }

  #size(header: Buffer, pax: ReadonlyMap<string, string>): number {
    return this.#paxNumber(pax, 'size') ?? this.#number(header, 124, 12, 'size');
  }

  #paxNumber(pax: ReadonlyMap<string, string>, key: string): number | undefined {
    const digits = pax.get(key);
    if (digits === undefined) return undefined;
    const value = /^\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw this.#broken(`the ${key} of entry ${this.#entries} is not a number`);
    return value;
  }

  /** Octal digits, or GNU's base 256 when the top bit is set. */
  #number(header: Buffer, start: number, length: number, what: string, mayBeNegative = false): number {
    const value = numberAt(header, start, length);
    if (!Number.isSafeInteger(value) || (value < 0 && !mayBeNegative)) {
      throw this.#broken(`the ${what} of entry ${this.#entries + 1} is not a number`);
    }
    return value;
  }

  async #skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; ) {
      const piece = await this.#source.some(left);
      if (piece === undefined) throw this.#broken('it is cut off inside an entry');
      left -= piece.length;
    }
  }

  #broken(why: string, hint = 'export or copy the image again'): ClusterError {
    return new ClusterError('invalid', `${this.#name} is not a sound tar archive: ${why}`, { hint });
  }
}

/** A byte string for people. */
export function shown(bytes: string): string {
  return Buffer.from(bytes.slice(0, 200), 'latin1')
    .toString('utf8')
    .replace(/\p{Cc}/gu, '?');
}

function nameOf(header: Buffer): string {
  const name = text(header, 0, 100);
  // Only POSIX's magic has the prefix; GNU's old one keeps times there.
  const isPosix = header.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? text(header, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function text(header: Buffer, start: number, length: number): string {
  return untilNul(header.toString('latin1', start, start + length));
}

function untilNul(bytes: string): string {
  const end = bytes.indexOf('\0');
  return end === -1 ? bytes : bytes.slice(0, end);
}

function numberAt(header: Buffer, start: number, length: number): number {
  const first = header[start] as number;
  if ((first & 0x80) === 0) {
    const digits = header
      .toString('latin1', start, start + length)
      .replace(/[\0 ]+$/, '')
      .trimStart();
    if (digits === '') return 0;
    return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
  }
  let value = BigInt((first & 0x40) === 0 ? first & 0x3f : (first & 0x3f) - 0x40);
  for (let at = start + 1; at < start + length; at += 1) value = value * 256n + BigInt(header[at] as number);
  return Number(value);
}

function hasRightSum(header: Buffer): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let at = 0; at < BLOCK; at += 1) {
    const byte = at >= 148 && at < 156 ? 0x20 : (header[at] as number);
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  const stated = numberAt(header, 148, 8);
  return stated === unsigned || stated === signed;
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}
