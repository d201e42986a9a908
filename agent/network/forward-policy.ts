/**
 * Whether somebody else's rules drop what this host forwards. Our own table can only accept for itself: a packet passes
 * when every table lets it. Pure: nft's JSON in, a reason out.
 */
import { TABLE } from './owned.ts';

/** The parts of `nft -j list ruleset` that matter. Source: libnftables-json(5). */
interface ListedChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}
interface ListedRule {
  readonly family: string;
  readonly table: string;
  readonly expr?: readonly unknown[];
}
interface Listing {
  readonly nftables: readonly { readonly chain?: ListedChain; readonly rule?: ListedRule }[];
}

/**
 * Names the first chain that drops forwarded packets by default while its table accepts neither what comes from the
 * pool nor what goes to it; empty = none. A table that names our pool is believed to have been arranged with.
 */
export function forwardObstacle(listing: string, pool: string): string {
  const { nftables } = JSON.parse(listing) as Listing;
  const rules = nftables.flatMap((item) => (item.rule === undefined ? [] : [item.rule]));
  for (const { chain } of nftables) {
    if (chain?.hook !== 'forward' || chain.policy !== 'drop') continue;
    if (chain.family !== 'ip' && chain.family !== 'inet') continue;
    if (chain.family === 'ip' && chain.table === TABLE) continue;
    const own = rules.filter((rule) => rule.family === chain.family && rule.table === chain.table);
    if (own.some((rule) => accepts(rule, 'saddr', pool)) && own.some((rule) => accepts(rule, 'daddr', pool))) continue;
    const where = `${chain.family} ${chain.table} ${chain.name}`;
    return (
      `chain "${where}" drops forwarded packets, so containers cannot be reached; ` +
      `next: nft insert rule ${where} ip saddr ${pool} accept; nft insert rule ${where} ip daddr ${pool} accept`
    );
  }
  return '';
}

function accepts(rule: ListedRule, side: 'saddr' | 'daddr', pool: string): boolean {
  const parts = rule.expr ?? [];
  const [address, length] = pool.split('/');
  const names = (part: unknown): boolean => {
    const match = (part as { match?: { left?: unknown; op?: string; right?: unknown } }).match;
    const field = (match?.left as { payload?: { protocol?: string; field?: string } } | undefined)?.payload;
    const prefix = (match?.right as { prefix?: { addr?: string; len?: number } } | undefined)?.prefix;
    return field?.field === side && match?.op === '==' && prefix?.addr === address && prefix?.len === Number(length);
  };
  return parts.some((part) => part !== null && typeof part === 'object' && 'accept' in part) && parts.some(names);
}
