/** What the parts of a simulation share: time, chance, the store, what truly runs, and the story so far. */
import type { Instant, TaskId } from '../../common/model/ids.ts';
import type { View } from '../../manager/store/store.ts';
import { MemoryEtcd } from '../support/memory-store.ts';
import { Containers } from './containers.ts';
import { Dice } from './dice.ts';
import { Timeline } from './timeline.ts';

/** Simulated time starts here, so that no instant is accidentally 0. */
export const START: Instant = 1_000_000;

/** A broken invariant. The message begins with its number in docs/testing.md. */
export class Violation extends Error {}

export class World {
  readonly seed: number;
  readonly dice: Dice;
  readonly timeline = new Timeline(START);
  readonly etcd = new MemoryEtcd();
  readonly containers = new Containers();
  /** One line a happening; kept only when asked for. */
  readonly story: string[] = [];
  readonly #tells: boolean;
  #tasks = 0;
  #numbers = 0;
  #etcdBackAt: Instant = 0;

  constructor(seed: number, tells: boolean) {
    this.seed = seed;
    this.dice = new Dice(seed);
    this.#tells = tells;
  }

  get now(): Instant {
    return this.timeline.now;
  }

  get view(): View {
    return this.etcd.truth;
  }

  newTaskId(): TaskId {
    return `t${++this.#tasks}` as TaskId;
  }

  /** One that was not given out before. */
  newNumber(): number {
    return ++this.#numbers;
  }

  /** The text is made only when the story is kept. */
  tell(line: () => string): void {
    if (!this.#tells) return;
    this.story.push(`${((this.now - START) / 1_000).toFixed(3).padStart(9)}  ${line()}`);
  }

  after(lowMs: number, highMs: number, run: () => void): void {
    this.timeline.after(this.dice.between(lowMs, highMs), run);
  }

  /** From now on nobody gets an answer from the store. */
  pauseEtcd(ms: number): void {
    this.#etcdBackAt = this.now + ms;
  }

  /** How long until the store answers; 0 = it does. */
  get etcdSilentMs(): number {
    return Math.max(0, this.#etcdBackAt - this.now);
  }
}
