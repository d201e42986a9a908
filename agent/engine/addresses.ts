/** Addresses and ports that this node gives out itself, to containers without a service. PURE. */
import { nodeShare } from '../../common/model/address-share.ts';

/** Source: RFC 6335, dynamic ports; above those that services get (30000–32767). */
const PORTS_FIRST = 49_152;
const PORTS_LAST = 65_535;

/**
 * The lowest free address of the node's share of `block`, from `after` on and then from its beginning.
 * @param block  A.B.C.D/N
 * @returns undefined when there is none, or the block is too small to have a share
 */
export function freeAddress(block: string, used: ReadonlySet<string>, after: string | undefined): string | undefined {
  const [base = '', bits = ''] = block.split('/');
  const size = 2 ** (32 - Number(bits));
  const count = nodeShare(size);
  const first = numberOf(base) + size - 1 - count;
  const last = after === undefined ? -1 : numberOf(after) - first;
  for (let step = 1; step <= count; step += 1) {
    const address = textOf(first + ((((last + step) % count) + count) % count));
    if (!used.has(address)) return address;
  }
  return undefined;
}

/** The lowest port that nobody here holds; undefined when all are. @param used  `PORT/PROTOCOL` */
export function freePort(protocol: string, used: ReadonlySet<string>): number | undefined {
  for (let port = PORTS_FIRST; port <= PORTS_LAST; port += 1) if (!used.has(`${port}/${protocol}`)) return port;
  return undefined;
}

function numberOf(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function textOf(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}
