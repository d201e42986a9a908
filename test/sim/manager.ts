/**
 * A pretend manager that leads: the real reconcilers behind a loop with delays, so that plans meet a store that has
 * moved on, and a leader that can die between any two units.
 */
import type { Instant } from '../../common/model/ids.ts';
import type { Epoch } from '../../common/model/node.ts';
import type { Reconciler } from '../../manager/reconcile.ts';
import type { Batch, CommitResult, Unit } from '../../manager/store/store.ts';
import type { MemoryEtcd, MemoryReign } from '../support/memory-store.ts';
import type { World } from './world.ts';

/** Builds what a leader runs; a planted bug wraps one of them. */
export type Brain = (epoch: Epoch) => readonly Reconciler[];

/** How a leader commits; a planted bug leaves the fence out. */
export type Committer = (reign: MemoryReign, units: readonly Unit[], etcd: MemoryEtcd) => readonly CommitResult[];

/** A key may be planned so often without the clock moving; more is a loop that would eat a whole core. */
const PLANS_AN_INSTANT_MAX = 2_000;

export class Manager {
  readonly reign: MemoryReign;
  readonly #world: World;
  readonly #brain: readonly Reconciler[];
  readonly #commit: Committer;
  readonly #dirty = new Map<string, { readonly reconciler: Reconciler; readonly key: string }>();
  readonly #wakes = new Map<string, Instant>();
  #isBusy = false;
  #isAlive = true;
  #unitsLeft = Number.POSITIVE_INFINITY;
  #unitsWritten = 0;
  #onDeath: () => void = () => {};
  #plansNow = { at: 0, count: 0 };

  constructor(world: World, reign: MemoryReign, brain: Brain, commit: Committer) {
    this.#world = world;
    this.reign = reign;
    this.#brain = brain(reign.epoch);
    this.#commit = commit;
    for (const reconciler of this.#brain) {
      for (const key of reconciler.allKeys(world.view)) this.#mark(reconciler, key);
    }
  }

  /** How many units it has committed so far. */
  get unitsWritten(): number {
    return this.#unitsWritten;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Dies when it has committed so many units more: a plan may be cut short. */
  dieAfter(units: number, onDeath: () => void): void {
    this.#unitsLeft = units;
    this.#onDeath = onDeath;
  }

  /** Stops deciding for good. */
  kill(): void {
    this.#isAlive = false;
    this.#dirty.clear();
  }

  /** What the store tells everyone. */
  observe(batch: Batch): void {
    if (!this.#isAlive) return;
    for (const change of batch.changes) {
      for (const reconciler of this.#brain) {
        for (const key of reconciler.keysOf(change, this.#world.view)) this.#mark(reconciler, key);
      }
    }
  }

  #mark(reconciler: Reconciler, key: string): void {
    this.#dirty.set(`${reconciler.name} ${key}`, { reconciler, key });
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#world.after(0, 4, () => this.#turn());
  }

  #turn(): void {
    this.#isBusy = false;
    if (!this.#isAlive) return;
    const [name, next] = this.#next() ?? [];
    if (name === undefined || next === undefined) return;
    this.#dirty.delete(name);
    this.#limit(name);
    const { reconciler, key } = next;
    const world = this.#world;
    const tick = { now: world.now, newTaskId: () => world.newTaskId() };
    const plan = reconciler.decide(world.view, key, tick);
    if (plan.wakeAt !== undefined) this.#wake(name, next, plan.wakeAt);
    if (plan.units.length === 0) {
      if (this.#dirty.size > 0) this.#again(0);
      return;
    }
    // The commit takes its time: others write meanwhile, and some units may meet what they did not expect.
    this.#isBusy = true;
    world.after(1, 8, () => this.#write(name, next, plan.units));
  }

  /** Mostly in order; sometimes another one first, since nothing promises an order. */
  #next(): readonly [string, { readonly reconciler: Reconciler; readonly key: string }] | undefined {
    const entries = [...this.#dirty];
    return this.#world.dice.chance(0.8) ? entries[0] : this.#world.dice.pickAny(entries);
  }

  #write(
    name: string,
    planned: { readonly reconciler: Reconciler; readonly key: string },
    units: readonly Unit[],
  ): void {
    this.#isBusy = false;
    if (!this.#isAlive) return;
    if (this.#world.etcdSilentMs > 0) {
      this.#dirty.set(name, planned);
      this.#again(this.#world.etcdSilentMs + 50);
      return;
    }
    const written = units.slice(0, this.#unitsLeft);
    this.#world.tell(
      () => `${name}: ${units.length} unit(s)${written.length < units.length ? `, dies after ${written.length}` : ''}`,
    );
    const results = this.#commit(this.reign, written, this.#world.etcd);
    this.#unitsLeft -= written.length;
    this.#unitsWritten += written.length;
    if (results.some((result) => result.kind === 'lost')) {
      this.kill();
      return;
    }
    if (results.some((result) => result.kind === 'conflict')) this.#dirty.set(name, planned);
    if (this.#unitsLeft <= 0) {
      this.kill();
      this.#onDeath();
      return;
    }
    if (this.#dirty.size > 0) this.#again(0);
  }

  #again(ms: number): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#world.after(ms, ms + 2, () => this.#turn());
  }

  #wake(name: string, planned: { readonly reconciler: Reconciler; readonly key: string }, at: Instant): void {
    const known = this.#wakes.get(name);
    if (known !== undefined && known > this.#world.now && known <= at) return;
    this.#wakes.set(name, at);
    this.#world.timeline.at(at, () => {
      if (!this.#isAlive || this.#wakes.get(name) !== at) return;
      this.#wakes.delete(name);
      this.#mark(planned.reconciler, planned.key);
    });
  }

  #limit(name: string): void {
    const { now } = this.#world;
    this.#plansNow = this.#plansNow.at === now ? { at: now, count: this.#plansNow.count + 1 } : { at: now, count: 0 };
    if (this.#plansNow.count > PLANS_AN_INSTANT_MAX)
      throw new Error(`${name} is planned again and again at one instant`);
  }
}
