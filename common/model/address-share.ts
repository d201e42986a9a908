/** How a node's block of addresses is shared: tasks' are given out by the leader, the last part by the node to other containers. */

/** Smaller blocks are all for tasks. */
const SHARED_FROM = 16;
const SHARE = 4;

/** How many addresses at the end of a block of `size`, the broadcast address not counted, are the node's to give. */
export function nodeShare(size: number): number {
  return size < SHARED_FROM ? 0 : size / SHARE - 1;
}
