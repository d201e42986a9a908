/**
 * How full a host's disk may be: when room is made, how much, and when no new task comes. Shares are as df(1) shows them:
 * what is used, of that and what an unprivileged process could still write.
 */

export interface DiskUse {
  readonly usedBytes: number;
  /** Without what the file system keeps for root. */
  readonly freeBytes: number;
}

/** In percent; low ≤ high ≤ pressure. */
export interface Marks {
  /** Above it room is made … */
  readonly high: number;
  /** … until no more than this is used. */
  readonly low: number;
  /** Above it the host takes no new task, until it is back at `high`. */
  readonly pressure: number;
}

/** 0–100. */
export function shareOf({ usedBytes, freeBytes }: DiskUse): number {
  const all = usedBytes + freeBytes;
  return all === 0 ? 0 : (usedBytes / all) * 100;
}

/** Bytes to be made free; 0 when the high mark is not passed. */
export function bytesToFree(use: DiskUse, marks: Marks): number {
  return shareOf(use) <= marks.high ? 0 : bytesAbove(use, marks.low);
}

/** Bytes that are used beyond so many percent; 0 when it is less. */
export function bytesAbove({ usedBytes, freeBytes }: DiskUse, percent: number): number {
  return Math.max(0, Math.ceil(usedBytes - ((usedBytes + freeBytes) * percent) / 100));
}

/** Whether the host is to take no new task. @param was  whether that was so before: it ends lower than it begins */
export function isPressed(use: DiskUse, marks: Marks, was: boolean): boolean {
  return shareOf(use) > (was ? marks.high : marks.pressure);
}

/** What can be made room with, in the order in which it goes: kinds as listed here, in each the longest unused first. */
export const KINDS = ['packed-layer', 'container', 'image', 'build-cache', 'volume'] as const;
export type HeldKind = (typeof KINDS)[number];

/** `spare`: may go by itself when room is needed. `asked`: only when a user says so. `needed`: not at all. */
export type Worth = 'spare' | 'asked' | 'needed';

/** Something that takes room. */
export interface Held {
  readonly kind: HeldKind;
  /** Unique in its kind. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** What it takes; of something shared, what only it takes. */
  readonly bytes: number;
  /** Milliseconds since the epoch; when it was last used. */
  readonly usedAt: number;
  readonly worth: Worth;
  /** Something else has it too: its removal frees nothing. */
  readonly isShared?: true;
}

/** What a user wants to be rid of. */
export interface PruneWish {
  /** Empty: all. */
  readonly kinds: readonly string[];
  /** Only what was last used before; 0: whenever. */
  readonly until: number;
  /** Not what something else has too. */
  readonly unshared: boolean;
  /** So much of these kinds may stay, the newest. */
  readonly keepBytes: number;
}

/** What goes of these, in their order. */
export function toPrune<H extends Held>(held: readonly H[], wish: PruneWish): readonly H[] {
  const meant = held.filter(({ kind }) => wish.kinds.length === 0 || wish.kinds.includes(kind));
  let left = meant.reduce((sum, { bytes }) => sum + bytes, 0);
  const goes: H[] = [];
  for (const each of meant) {
    if (wish.keepBytes > 0 && left <= wish.keepBytes) break;
    if (each.worth === 'needed' || (wish.until > 0 && each.usedAt >= wish.until)) continue;
    if (wish.unshared && each.isShared === true) continue;
    goes.push(each);
    left -= each.bytes;
  }
  return goes;
}

/** In the order in which they go. */
export function inTurn<H extends Held>(held: readonly H[]): readonly H[] {
  return held.toSorted((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.usedAt - b.usedAt);
}
