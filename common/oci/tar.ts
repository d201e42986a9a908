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
import { BLOCK, hasRightSum, isZero, nameOf, numberAt, paddingOf, text, untilNul } from './tar-header.ts';
import { attributesOf, PaxRecords, paxRecords, putGlobals, timeOf } from './tar-pax.ts';
import {
  decimals,
  EXTENTS_MAX,
  type Extent,
  MapInBody,
  oldMap,
  oldMapBlock,
  type SparseFile,
  sparseFile,
} from './tar-sparse.ts';

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
  /** Bytes of the file, holes and all; 0 but for files. */
  readonly size: number;
  /** Where the body's bytes lie in a sparse file, ascending; the rest of `size` is holes. Absent: all of it is there. */
  readonly extents?: readonly Extent[];
  /** Of `char` and `block`. */
  readonly device?: Device;
  readonly mtime: Time;
  /** Byte strings. */
  readonly xattrs: readonly Xattr[];
}

export interface Device {
  readonly major: number;
  readonly minor: number;
}

/** Seconds may be negative; nanos are 0–999999999 and count upwards. */
export interface Time {
  readonly seconds: number;
  readonly nanos: number;
}

export type Xattr = readonly [name: string, value: string];

/** Long names and attributes of one entry; Linux ends paths at 4,096 bytes and attributes at 64 KiB each. */
const EXTENSION_BYTES_MAX = 1024 * 1024;
/** Extensions that may precede one entry. */
const EXTENSIONS_MAX = 8;
/** Of what global headers say, keys and values; each entry is given a copy. */
const GLOBAL_BYTES_MAX = 64 * 1024;
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
  S: 'file',
};

interface Extensions {
  readonly pax: PaxRecords;
  path?: string;
  link?: string;
}

export class TarReader {
  readonly #source: ByteSource;
  readonly #name: string;
  /** What global headers said so far. */
  readonly #global = new Map<string, string>();
  /** The number of the entry that is read, from 1. */
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
    await this.#skip(this.#left);
    // An archive may end with its last body: umoci leaves out what follows, and Go's readers take it.
    await this.#source.take(this.#padding);
    this.#left = 0;
    this.#padding = 0;
    this.#entries += 1;
    let extensions: Extensions | undefined;
    for (let count = 0; count <= EXTENSIONS_MAX; count += 1) {
      const header = await this.#header();
      if (header === undefined) {
        if (extensions !== undefined) throw this.#broken('it ends behind an extended header');
        return undefined;
      }
      const flag = String.fromCharCode(header[156] as number);
      if (flag === 'g') {
        await this.#globals(header);
        continue;
      }
      extensions ??= { pax: new PaxRecords(this.#global) };
      if (!(await this.#extend(flag, header, extensions))) return this.#entry(flag, header, extensions);
    }
    throw this.#broken(`entry ${this.#entries} has more than ${EXTENSIONS_MAX} extended headers`);
  }

  /**
   * The next piece of the current entry's body, at most `max` bytes; undefined at its end. Of a sparse file only the bytes of
   * its extents, one behind the other. Shares the source's memory.
   */
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
    if (!hasRightSum(header)) throw this.#broken(`the header of entry ${this.#entries} has a wrong checksum`);
    return header;
  }

  /** True when the header was an extension of the entry that follows. */
  async #extend(flag: string, header: Buffer, extensions: Extensions): Promise<boolean> {
    if (flag !== 'x' && flag !== 'L' && flag !== 'K') return false;
    const body = await this.#extension(header);
    if (flag === 'x') extensions.pax.add(this.#records(body));
    if (flag === 'L') extensions.path = untilNul(body.toString('latin1'));
    if (flag === 'K') extensions.link = untilNul(body.toString('latin1'));
    return true;
  }

  /** Keys of a global header hold for all that follows, until an entry or a later one says otherwise. */
  async #globals(header: Buffer): Promise<void> {
    putGlobals(this.#global, this.#records(await this.#extension(header)));
    let bytes = 0;
    for (const [key, value] of this.#global) bytes += key.length + value.length;
    if (bytes > GLOBAL_BYTES_MAX) throw this.#broken(`its global headers say more than ${GLOBAL_BYTES_MAX} bytes`);
  }

  async #extension(header: Buffer): Promise<Buffer> {
    const size = this.#number(header, 124, 12, 'size');
    if (size > EXTENSION_BYTES_MAX) throw this.#broken(`an extended header has ${size} bytes`);
    const bytes = await this.#source.take(size);
    if ((bytes?.length ?? 0) < size) throw this.#broken('it is cut off inside an extended header');
    await this.#skip(paddingOf(size));
    return bytes ?? Buffer.alloc(0);
  }

  #records(body: Buffer): ReturnType<typeof paxRecords> & object {
    const records = paxRecords(body);
    if (records === undefined) throw this.#broken('a PAX record is malformed');
    return records;
  }

  async #entry(flag: string, header: Buffer, extensions: Extensions): Promise<TarEntry> {
    const { pax } = extensions;
    const path = pax.get('GNU.sparse.name') ?? pax.get('path') ?? extensions.path ?? nameOf(header);
    const named = KINDS[flag];
    if (named === undefined) throw this.#broken(`entry "${shown(path)}" has the unknown type ${JSON.stringify(flag)}`);
    const kind = named === 'file' && flag === '\0' && path.endsWith('/') ? 'directory' : named;
    const stored = kind === 'file' ? this.#size(header, pax) : 0;
    this.#left = stored;
    this.#padding = paddingOf(stored);
    const sparse = kind === 'file' ? await this.#sparse(flag, header, pax, path) : undefined;
    return {
      kind,
      path,
      link:
        kind === 'hardlink' || kind === 'symlink'
          ? (pax.get('linkpath') ?? extensions.link ?? text(header, 157, 100))
          : '',
      mode: this.#number(header, 100, 8, 'mode') & 0o7777,
      uid: this.#paxNumber(pax, 'uid') ?? this.#number(header, 108, 8, 'uid'),
      gid: this.#paxNumber(pax, 'gid') ?? this.#number(header, 116, 8, 'gid'),
      size: sparse?.size ?? stored,
      mtime: timeOf(pax.get('mtime')) ?? { seconds: this.#number(header, 136, 12, 'mtime', true), nanos: 0 },
      xattrs: attributesOf(pax.all),
      ...(sparse === undefined ? {} : { extents: sparse.extents }),
      ...(kind === 'char' || kind === 'block' ? { device: this.#device(header, pax) } : {}),
    };
  }

  #device(header: Buffer, pax: PaxRecords): Device {
    const major = this.#paxNumber(pax, 'SCHILY.devmajor') ?? this.#number(header, 329, 8, 'major number');
    const minor = this.#paxNumber(pax, 'SCHILY.devminor') ?? this.#number(header, 337, 8, 'minor number');
    return { major, minor };
  }

  /** Reads the map when it stands before the body; what is left is the body. Undefined: not sparse. */
  async #sparse(flag: string, header: Buffer, pax: PaxRecords, path: string): Promise<SparseFile | undefined> {
    const told = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size') ?? '';
    let size = decimals([told])?.[0] ?? Number.NaN;
    let pairs: readonly number[] | undefined;
    if (flag === 'S') {
      const old = oldMap(header);
      size = old.size;
      pairs = await this.#oldMap(old.numbers, old.hasMore);
    } else if (pax.get('GNU.sparse.major') === '1' && pax.get('GNU.sparse.minor') === '0') {
      pairs = await this.#mapInBody(path);
    } else if (pax.get('GNU.sparse.size') !== undefined) {
      pairs = decimals(pax.get('GNU.sparse.map')?.split(',') ?? pax.pieces);
    } else if (![...pax.all.keys()].some((key) => key.startsWith('GNU.sparse.'))) {
      return undefined;
    }
    const sparse = pairs === undefined ? undefined : sparseFile(size, pairs, this.#left);
    if (sparse === undefined) throw this.#broken(`the map of the sparse file "${shown(path)}" is malformed`);
    return sparse;
  }

  async #oldMap(pairs: number[], hasMore: boolean): Promise<readonly number[] | undefined> {
    for (let more = hasMore; more; ) {
      const block = await this.#source.take(BLOCK);
      if (block === undefined || block.length < BLOCK) throw this.#broken('it is cut off inside a header');
      const next = oldMapBlock(block);
      pairs.push(...next.numbers);
      more = next.hasMore;
      if (pairs.length > EXTENTS_MAX * 2 || next.numbers.length === 0) return undefined;
    }
    return pairs;
  }

  async #mapInBody(path: string): Promise<readonly number[] | undefined> {
    const map = new MapInBody();
    for (;;) {
      if (this.#left < BLOCK) return undefined;
      const block = await this.#source.take(BLOCK);
      if (block === undefined || block.length < BLOCK) throw this.#broken(`it is cut off inside "${shown(path)}"`);
      this.#left -= BLOCK;
      const pairs = map.take(block);
      if (pairs === 'broken') return undefined;
      if (pairs !== undefined) return pairs;
    }
  }

  #size(header: Buffer, pax: PaxRecords): number {
    return this.#paxNumber(pax, 'size') ?? this.#number(header, 124, 12, 'size');
  }

  #paxNumber(pax: PaxRecords, key: string): number | undefined {
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
      throw this.#broken(`the ${what} of entry ${this.#entries} is not a number`);
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
