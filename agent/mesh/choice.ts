/**
 * Which piece to ask of whom next, and which nodes to talk to. PURE.
 *
 * The rarest first, as far as this node sees, so that no piece is ever with one node only for long; from a window behind the
 * unpacker's head, so that it always has something to read; now and then any piece, because nodes that see the same
 * neighbours would otherwise all run after the same one.
 */
import type { PieceSet } from '../../common/oci/cut.ts';

/** A neighbour that answers. */
export interface Neighbour {
  readonly id: string;
  readonly has: PieceSet;
}

/** One blob on its way here. */
export interface Situation {
  readonly has: PieceSet;
  /** Pieces asked of anybody. */
  readonly underway: ReadonlySet<number>;
  readonly neighbours: readonly Neighbour[];
}

/** Pieces behind the first that is missing. */
export const WINDOW = 64;
/** One piece in so many is any. */
const ANY_EVERY = 8;

/** Neighbours that one blob waits for at once: each has others to serve first, but all of them would come at once. */
export const LINES_MAX = 6;

/**
 * Whom to wait for: idle neighbours with something that is wanted, in an order by chance, each once.
 * @param waiting  how many are waited for already
 */
export function nextLines<N extends Neighbour>(
  situation: Situation,
  { idle, waiting }: { readonly idle: readonly N[]; readonly waiting: number },
  random: () => number,
): readonly N[] {
  const wanted = wantedOf(situation);
  return idle
    .filter(({ has }) => wanted.some((index) => has.has(index)))
    .map((each) => ({ each, rank: random() }))
    .toSorted((a, b) => a.rank - b.rank)
    .slice(0, Math.max(0, LINES_MAX - waiting))
    .map(({ each }) => each);
}

/**
 * What to take from the neighbour whose turn it is to give: chosen at that moment and no earlier, for meanwhile others have
 * given. Undefined when it has nothing that is wanted.
 *
 * @param random  0 ≤ x < 1
 */
export function nextPiece(situation: Situation, giver: Neighbour, random: () => number): number | undefined {
  const wanted = wantedOf(situation).filter((index) => giver.has.has(index));
  return wanted.length === 0 ? undefined : chosen(wanted, situation.neighbours, random);
}

/** Pieces to be asked for, as far as the window goes; in order. */
function wantedOf({ has, underway }: Situation): readonly number[] {
  const { head } = has;
  const wanted: number[] = [];
  for (let index = head; index < Math.min(has.count, head + WINDOW); index += 1)
    if (!has.has(index) && !underway.has(index)) wanted.push(index);
  return wanted;
}

function chosen(wanted: readonly number[], neighbours: readonly Neighbour[], random: () => number): number {
  if (random() * ANY_EVERY < 1) return oneOf(wanted, random);
  const owners = wanted.map((index) => neighbours.filter(({ has }) => has.has(index)).length);
  const fewest = Math.min(...owners);
  return oneOf(
    wanted.filter((_, at) => owners[at] === fewest),
    random,
  );
}

function oneOf<T>(list: readonly T[], random: () => number): T {
  return list[Math.min(list.length - 1, Math.floor(random() * list.length))] as T;
}

/** What a node that a manager has sent to the others knows of how they give. */
export interface Pace {
  /** Nobody else can be asked. */
  readonly isAlone: boolean;
  /** It waits in line at a node that has what is wanted. */
  readonly isInLine: boolean;
  /** Between two pieces from others, on average; undefined before the second. */
  readonly gapMs: number | undefined;
}

/** A manager said that the others have it all: after so long without a piece from them it is asked for it all the same. */
const URGENT_MS = 2_000;
/** The same while it waits in line. */
const IN_LINE_MS = 5_000;
/** The same where nobody can be asked. */
const ALONE_MS = 500;
/** Where others give slowly but surely, so many gaps without a piece are not unusual. */
const GAPS = 5;
const PATIENCE_MAX_MS = 15_000;

/** How long after the last piece from others a manager is asked for what it would rather not give. */
export function patienceMs({ isAlone, isInLine, gapMs = 0 }: Pace): number {
  if (isAlone) return ALONE_MS;
  const least = isInLine ? IN_LINE_MS : URGENT_MS;
  return Math.min(Math.max(least, gapMs * GAPS), PATIENCE_MAX_MS);
}

/** Somebody who is said to have the blob, or to take it. */
export interface Candidate {
  readonly id: string;
  readonly isWhole: boolean;
  /** Spoken to already, about this blob or another: another connection costs more than another question. */
  readonly isNear: boolean;
  /** As `nextInRing` says. */
  readonly isNext: boolean;
}

/**
 * Whom this node asks in any case: the one that follows it in the order of ids, the first after the last. Chosen by chance alone, one node in a
 * hundred would be asked by nobody, and what a manager gave to it and to no other would be nowhere else.
 */
export function nextInRing(self: string, ids: readonly string[]): string | undefined {
  const sorted = ids.filter((id) => id !== self).toSorted();
  return sorted.find((id) => id > self) ?? sorted[0];
}

/** Neighbours of one blob; each gets about as many that ask it. */
export const NEIGHBOURS_MAX = 8;
/**
 * Strangers are begun with only up to so many: a connection costs both ends more than many pieces do, and nodes that were talked to about
 * other layers come to this one as well.
 */
export const STRANGERS_MAX = 5;
/** Of those that have all of it, this many are enough to be sure of every piece: the others are asked by others. */
const WHOLE_MAX = 4;

/**
 * Whom to begin to talk to.
 * @param current  those being talked to
 * @param candidates  others, each once
 */
export function nextNeighbours(
  current: readonly { readonly isWhole: boolean }[],
  candidates: readonly Candidate[],
  random: () => number,
): readonly string[] {
  const roomForWhole = WHOLE_MAX - current.filter(({ isWhole }) => isWhole).length;
  const ranked = candidates
    .map((each) => ({ ...each, rank: (each.isNext ? -1 : each.isNear ? 0 : 1) + random() }))
    .toSorted((a, b) => a.rank - b.rank);
  const whole = ranked.filter(({ isWhole }) => isWhole).slice(0, Math.max(0, roomForWhole));
  const partial = ranked.filter(({ isWhole }) => !isWhole);
  const chosen: string[] = [];
  for (const { id, isNear, isNext } of [...whole, ...partial]) {
    const count = current.length + chosen.length;
    if (count < NEIGHBOURS_MAX && (isNear || isNext || count < STRANGERS_MAX)) chosen.push(id);
  }
  return chosen;
}
