/** Simulated time: what is to happen, in the order of its time and then of its making. */
import type { Instant } from '../../common/model/ids.ts';

interface Happening {
  readonly at: Instant;
  readonly number: number;
  readonly run: () => void;
}

export class Timeline {
  #now: Instant;
  #made = 0;
  #steps = 0;
  readonly #heap: Happening[] = [];

  constructor(start: Instant) {
    this.#now = start;
  }

  get now(): Instant {
    return this.#now;
  }

  /** How many happenings have run. */
  get steps(): number {
    return this.#steps;
  }

  after(ms: number, run: () => void): void {
    this.#push({ at: this.#now + Math.max(0, ms), number: this.#made++, run });
  }

  at(instant: Instant, run: () => void): void {
    this.after(instant - this.#now, run);
  }

  /** Runs all that falls due until then, and stops there or as soon as `isOver` says so. */
  runUntil(end: Instant, isOver: () => boolean = () => false): void {
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) {
      this.#pop();
      this.#now = next.at;
      this.#steps++;
      next.run();
      if (isOver()) return;
    }
    this.#now = Math.max(this.#now, end);
  }

  #push(happening: Happening): void {
    const heap = this.#heap;
    let at = heap.push(happening) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Happening;
      if (!isBefore(happening, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = happening;
  }

  #pop(): void {
    const heap = this.#heap;
    const moving = heap.pop();
    if (moving === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, left)) child++;
      const below = heap[child] as Happening;
      if (!isBefore(below, moving)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = moving;
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.at === b.at ? a.number < b.number : a.at < b.at;
}
