/** Which of the nodes that fit is the best, and a heap that keeps knowing it while tasks are bound. */
import { refusalOf } from './filters.ts';
import type { Seat, Want } from './seats.ts';

/** Failures of one revision on one node from which on the node stands behind. Source: swarmkit, scheduler, node info. */
export const FAILURES_BEHIND = 5;
/** How far back failures count. */
export const FAILURE_WINDOW_MS = 5 * 60_000;

/** A node that fits, with what ranks it. The counts move while a plan is made. */
export interface Candidate {
  readonly seat: Seat;
  /** Failures of this revision here within the window. */
  readonly failures: number;
  /** Slots of the service whose newest wanted task is here: what spreading evens out. */
  slots: number;
  /** Wanted tasks of the service here, both of a slot that is being moved or started first: what the limit counts. */
  ofService: number;
}

/**
 * Negative when `a` is the better node: not behind by failures, fewer tasks of this service, a smaller reserved share
 * (of cpu or memory, whichever is scarcer, with the task on it), fewer tasks; then by id, so that the order is total.
 */
export function compareCandidates(want: Want, a: Candidate, b: Candidate): number {
  const behind = Math.max(a.failures, b.failures) >= FAILURES_BEHIND ? a.failures - b.failures : 0;
  return (
    behind ||
    a.slots - b.slots ||
    shareOf(want, a.seat) - shareOf(want, b.seat) ||
    a.seat.tasks - b.seat.tasks ||
    (a.seat.node.value.id < b.seat.node.value.id ? -1 : 1)
  );
}

/** The nodes that fit as a binary heap: the best is found in constant time, kept so in logarithmic. */
export class Ranking {
  readonly #heap: Candidate[];
  readonly #want: Want;

  constructor(want: Want, candidates: readonly Candidate[]) {
    this.#want = want;
    this.#heap = candidates.filter((candidate) => this.#fits(candidate)).sort((a, b) => compareCandidates(want, a, b));
  }

  best(): Candidate | undefined {
    return this.#heap[0];
  }

  /** To be called when the best one has been given a task: it counts, and loses its place. */
  taken(best: Candidate): void {
    best.slots++;
    best.ofService++;
    if (this.#fits(best)) this.#sink();
    else this.drop();
  }

  /** Takes the best one out. */
  drop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink();
  }

  #fits(candidate: Candidate): boolean {
    return refusalOf(this.#want, candidate.seat, candidate.ofService) === undefined;
  }

  #sink(): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      const moving = heap[at];
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (moving === undefined || left === undefined) return;
      const rightWins = right !== undefined && compareCandidates(this.#want, right, left) < 0;
      const child = rightWins ? right : left;
      if (compareCandidates(this.#want, moving, child) <= 0) return;
      const childAt = 2 * at + (rightWins ? 2 : 1);
      heap[at] = child;
      heap[childAt] = moving;
      at = childAt;
    }
  }
}

function shareOf(want: Want, seat: Seat): number {
  const { nanoCpus = 0, memoryBytes = 0 } = seat.status?.description ?? {};
  return Math.max(
    share(seat.nanoCpus + want.nanoCpus, nanoCpus),
    share(seat.memoryBytes + want.memoryBytes, memoryBytes),
  );
}

function share(reserved: number, total: number): number {
  return reserved <= 0 ? 0 : reserved / Math.max(total, 1);
}
