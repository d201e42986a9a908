/** Tars as no sound tool would write them, header by header. */
import { execFileSync } from 'node:child_process';

export interface TarPart {
  readonly path: string;
  /** Typeflag; default `0`, a file. */
  readonly type?: string;
  readonly body?: Uint8Array | string;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly device?: readonly [major: number, minor: number];
  /** Stated size when it differs from the body's. */
  readonly size?: number;
  /** PAX records put before it; values as byte strings. */
  readonly pax?: Readonly<Record<string, string>>;
}

const BLOCK = 512;

/** The archive with its two closing blocks. Paths of more than 100 bytes need `pax: { path }`. */
export function tarOf(parts: readonly TarPart[]): Buffer {
  return Buffer.concat([...parts.flatMap(partBytes), Buffer.alloc(2 * BLOCK)]);
}

function partBytes(part: TarPart): readonly Buffer[] {
  const body = Buffer.from(part.body ?? '');
  const pax = Object.entries(part.pax ?? {}).map(([key, value]) => record(key, value));
  const before = pax.length === 0 ? [] : partBytes({ path: 'pax', type: 'x', body: Buffer.concat(pax) });
  return [...before, headerOf(part, part.size ?? body.length), padded(body)];
}

/** One PAX record; key and value as byte strings. */
export function record(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`, 'latin1');
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** One header with a right checksum; `own` are fields of other formats, by where they begin. */
export function headerOf(part: TarPart, size: number, own: Readonly<Record<number, string>> = {}): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, '0')}\0`;
  header.write(part.path.slice(0, 100), 0, 'latin1');
  header.write(octal(part.mode ?? 0o644, 8), 100);
  header.write(octal(part.uid ?? 0, 8), 108);
  header.write(octal(part.gid ?? 0, 8), 116);
  header.write(octal(size, 12), 124);
  header.write(octal(part.mtime ?? 1_700_000_000, 12), 136);
  header.write(part.type ?? '0', 156);
  header.write((part.link ?? '').slice(0, 100), 157, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  if (part.device !== undefined)
    for (const [at, number] of part.device.entries()) header.write(octal(number, 8), 329 + at * 8);
  for (const [at, bytes] of Object.entries(own)) header.write(bytes, Number(at), 'latin1');
  header.write('        ', 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

function padded(body: Buffer): Buffer {
  return Buffer.concat([body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)]);
}

/** Packed by Debian's program. */
export function zstdOf(bytes: Uint8Array, ...options: readonly string[]): Buffer {
  return execFileSync('zstd', ['--quiet', '--stdout', ...options], { input: bytes, maxBuffer: 2 ** 30 });
}

/** Bytes as a stream in pieces of `size`. */
export async function* streamOf(bytes: Uint8Array, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
