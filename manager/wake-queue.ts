/** Wakes things at their times with one timer for all: a heap by time, in which a name stands at most once. */
import type { Clock } from '../common/clock.ts';
import type { Instant } from '../common/model/ids.ts';

interface Wake<T> {
  readonly at: Instant;
  readonly number: number;
  readonly name: string;
  readonly what: T;
}

export class WakeQueue<T> {
  readonly #clock: Clock;
  readonly #wake: (what: T) => void;
  /** The wake in force for each name; entries of the heap that are not here are void. */
  readonly #current = new Map<string, Wake<T>>();
  #heap: Wake<T>[] = [];
  #made = 0;
  #timer: { readonly at: Instant; readonly cancel: () => void } | undefined;

  constructor(clock: Clock, wake: (what: T) => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** Names that wait. */
  get size(): number {
    return this.#current.size;
  }

  /** Wakes `what` at `at`, instead of what was set for the name before. */
  set(name: string, what: T, at: Instant): void {
    this.#made += 1;
    const wake: Wake<T> = { at, number: this.#made, name, what };
    this.#current.set(name, wake);
    push(this.#heap, wake);
    this.#sweep();
    this.#arm();
  }

  cancel(name: string): void {
    this.#current.delete(name);
  }

  clear(): void {
    this.#current.clear();
    this.#heap = [];
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined || (this.#timer !== undefined && this.#timer.at <= first.at)) return;
    this.#timer?.cancel();
    const cancel = this.#clock.after(first.at - this.#clock.now(), () => {
      this.#timer = undefined;
      this.#fire();
    });
    this.#timer = { at: first.at, cancel };
  }

  #fire(): void {
    const now = this.#clock.now();
    for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
      pop(this.#heap);
      if (this.#current.get(first.name) !== first) continue;
      this.#current.delete(first.name);
      this.#wake(first.what);
    }
    this.#arm();
  }

  /** Void entries may not outnumber the others by far: each `set` for a known name leaves one. */
  #sweep(): void {
    if (this.#heap.length < 64 || this.#heap.length < this.#current.size * 2) return;
    const live = this.#heap.filter((wake) => this.#current.get(wake.name) === wake);
    this.#heap = [];
    for (const wake of live) push(this.#heap, wake);
  }
}

function isBefore<T>(a: Wake<T>, b: Wake<T>): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}

function push<T>(heap: Wake<T>[], wake: Wake<T>): void {
  let at = heap.push(wake) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as Wake<T>;
    if (!isBefore(wake, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = wake;
}

/** Takes the first one out. */
function pop<T>(heap: Wake<T>[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right !== undefined && isBefore(right, heap[child] as Wake<T>)) child += 1;
    const below = heap[child] as Wake<T>;
    if (!isBefore(below, last)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
}
