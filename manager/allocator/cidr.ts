/** IPv4 blocks as numbers, for the allocator's arithmetic. Source: RFC 4632 section 3.1. */

export interface Cidr {
  /** The first address, as an unsigned 32-bit number. */
  readonly base: number;
  /** Prefix length, 0–32. */
  readonly bits: number;
}

/** The block that the text `A.B.C.D/N` names, its host bits cleared; undefined for anything else. */
export function parseCidr(text: string): Cidr | undefined {
  const found = /^([0-9.]+)\/(\d{1,2})$/.exec(text);
  const address = found === null ? undefined : parseAddress(found[1] ?? '');
  const bits = Number(found?.[2]);
  if (address === undefined || bits > 32) return undefined;
  return { base: address - (address % sizeOf(bits)), bits };
}

/** The address as an unsigned number; undefined for text that is no dotted IPv4 address. */
export function parseAddress(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** Dotted text of an unsigned 32-bit number. */
export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** `A.B.C.D/N`. */
export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.base)}/${cidr.bits}`;
}

/** How many addresses a block of this prefix length has. */
export function sizeOf(bits: number): number {
  return 2 ** (32 - bits);
}

/** True when the two blocks share an address. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.base < b.base + sizeOf(b.bits) && b.base < a.base + sizeOf(a.bits);
}
