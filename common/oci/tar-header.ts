/**
 * The fields of a tar header block. Source: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
 */

export const BLOCK = 512;

/** The name as it stands there, with ustar's prefix. Byte string. */
export function nameOf(header: Buffer): string {
  const name = text(header, 0, 100);
  // Only POSIX's magic has the prefix; GNU's old one keeps times and the map of a sparse file there.
  const isPosix = header.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? text(header, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Byte string, up to the first NUL. */
export function text(header: Buffer, start: number, length: number): string {
  return untilNul(header.toString('latin1', start, start + length));
}

export function untilNul(bytes: string): string {
  const end = bytes.indexOf('\0');
  return end === -1 ? bytes : bytes.slice(0, end);
}

/** Octal digits, or GNU's base 256 when the top bit is set; NaN for neither, rounded beyond 2^53. Nothing there is 0. */
export function numberAt(header: Buffer, start: number, length: number): number {
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

/** Old writers summed signed bytes. */
export function hasRightSum(header: Buffer): boolean {
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

export function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** Bytes behind a body of `size` bytes until the next block. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}
