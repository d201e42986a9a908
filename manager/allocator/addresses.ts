/**
 * Addresses: a block for every node, and in it one for every task.
 *
 * In: the cluster's pool, the nodes and the tasks bound to them. Out: nodes with a block, and the address that goes
 * with a binding. It must never give out a block or an address whose user may still be there.
 */
import { nodeShare } from '../../common/model/address-share.ts';
import type { Cluster } from '../../common/model/cluster.ts';
import type { Node } from '../../common/model/node.ts';
import { NOTHING, type Plan, type Reconciler } from '../reconcile.ts';
import { put, type Stored, type Unit, type View } from '../store/store.ts';
import { type Cidr, formatAddress, formatCidr, overlaps, parseAddress, parseCidr, sizeOf } from './cidr.ts';

/** Nodes that get their block in one plan; the rest follow at once. Bounds the time of one decision. */
const NODES_A_PLAN_MAX = 500;
/** Network, host and broadcast address: never a container's. */
const RESERVED = 3;

/** Gives every node without a block the lowest free one of the cluster's pool. */
export const blocks: Reconciler<'cluster'> = {
  name: 'blocks',
  *keysOf(change) {
    if (change.kind === 'cluster') yield 'cluster';
    // A node that goes sets its block free for one that waits.
    if (change.kind === 'node' && change.after?.block === undefined) yield 'cluster';
  },
  *allKeys() {
    yield 'cluster';
  },
  decide(view, _key, tick) {
    const cluster = view.get('cluster', 'default')?.value;
    const waiting = [...view.all('node')].filter(({ value }) => value.block === undefined).sort(byJoining);
    if (cluster === undefined || waiting.length === 0) return NOTHING;
    const free = freeBlocks(cluster, view);
    const units: Unit[] = [];
    for (const { value: node, rev } of waiting.slice(0, NODES_A_PLAN_MAX)) {
      const block = free.next();
      if (block.done === true) return { units, because: poolProblem(cluster, view) };
      units.push([put('node', node.id, { ...node, block: formatCidr(block.value) }, rev)]);
    }
    const plan: Plan = { units };
    return waiting.length > NODES_A_PLAN_MAX ? { ...plan, wakeAt: tick.now } : plan;
  },
};

/** Why a node has no block yet, in words that end a sentence. */
export function poolProblem(cluster: Cluster | undefined, view: View): string {
  if (cluster === undefined) return 'the cluster has not been set up';
  const pool = parseCidr(cluster.addressPool);
  if (pool === undefined || pool.bits > cluster.blockBits || cluster.blockBits > 30) {
    return `pool ${cluster.addressPool} has no blocks of /${cluster.blockBits}`;
  }
  return freeBlocks(cluster, view).next().done === true
    ? `pool ${cluster.addressPool} is used up`
    : 'it is being given one';
}

/**
 * The address for the next container in `block`: the lowest free one after `last`, then round from the start, so that
 * a stale connection to a container that has gone does not reach the next one.
 *
 * Network, first (the host's own) and broadcast address are never taken, nor the node's own share at the end.
 * @param held  addresses whose container may still exist; never chosen
 * @param past  addresses of finished tasks still on record; chosen only when nothing else is free
 * @param last  the address given out last, if known
 * @returns undefined when the block is full
 */
export function nextAddress(
  block: string,
  held: ReadonlySet<string>,
  past: ReadonlySet<string>,
  last: string | undefined,
): string | undefined {
  const cidr = parseCidr(block);
  if (cidr === undefined) return undefined;
  const size = sizeOf(cidr.bits);
  const count = size - RESERVED - nodeShare(size);
  const lowest = cidr.base + 2;
  const lastAddress = last === undefined ? undefined : parseAddress(last);
  const first = lastAddress === undefined ? 0 : lastAddress - lowest + 1;
  let secondBest: string | undefined;
  // Each address looked at in vain is held or past, so this ends within their number.
  for (let i = 0; i < count; i++) {
    const address = formatAddress(lowest + ((((first + i) % count) + count) % count));
    if (held.has(address)) continue;
    if (!past.has(address)) return address;
    secondBest ??= address;
  }
  return secondBest;
}

function* freeBlocks(cluster: Cluster, view: View): Generator<Cidr> {
  const pool = parseCidr(cluster.addressPool);
  if (pool === undefined || pool.bits > cluster.blockBits || cluster.blockBits > 30) return;
  const size = sizeOf(cluster.blockBits);
  const taken = new Set<number>();
  const odd: Cidr[] = [];
  for (const { value } of view.all('node')) {
    const block = value.block === undefined ? undefined : parseCidr(value.block);
    // Blocks of another size are left from before the setting was changed.
    if (block?.bits === cluster.blockBits) taken.add(block.base);
    else if (block !== undefined) odd.push(block);
  }
  for (let base = pool.base; base < pool.base + sizeOf(pool.bits); base += size) {
    const block = { base, bits: cluster.blockBits };
    if (!taken.has(base) && !odd.some((other) => overlaps(other, block))) yield block;
  }
}

function byJoining(a: Stored<Node>, b: Stored<Node>): number {
  return a.value.createdAt - b.value.createdAt || (a.value.id < b.value.id ? -1 : 1);
}
