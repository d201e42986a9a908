/** One random run: a cluster, ten minutes and more of trouble, then peace, convergence and silence. */
import type { ServiceSpec } from '../../common/model/service.ts';
import { aTemplate, CONTAINER } from '../support/fixtures.ts';
import { SimCluster, type SimOptions } from './cluster.ts';
import { converge } from './converge.ts';
import { drawFault, randomSpec, servicesOf, strike } from './faults.ts';
import type { Meetings } from './meetings.ts';
import { stuck } from './steady.ts';
import { Violation } from './world.ts';

/** What every random run has at least. */
export const HOSTS = 5;
export const SERVICES = 3;
export const EVENTS = 300;
export const TROUBLE_MS = 10 * 60_000;

export interface Outcome {
  readonly cluster: SimCluster;
  readonly events: number;
  readonly steps: number;
  readonly commits: number;
}

/**
 * Runs one seed to its end.
 * @throws Violation when an invariant breaks; anything else a reconciler throws
 */
export function runSeed(options: SimOptions, meetings?: Meetings): Outcome {
  const cluster = new SimCluster(options);
  const run = new RandomRun(cluster, meetings);
  try {
    run.live();
  } catch (cause) {
    throw new SeedFailure(cluster, cause);
  }
  const { world, observer } = cluster;
  return { cluster, events: run.events, steps: world.timeline.steps, commits: observer.commits };
}

/** A broken run: which seed, when, and what broke. */
export class SeedFailure extends Error {
  readonly cluster: SimCluster;

  constructor(cluster: SimCluster, cause: unknown) {
    const { world } = cluster;
    const what = cause instanceof Error ? cause.message : String(cause);
    super(`seed ${world.seed}, step ${world.timeline.steps}: ${what} (npm run sim -- --seed ${world.seed})`, { cause });
    this.cluster = cluster;
  }
}

class RandomRun {
  readonly #cluster: SimCluster;
  readonly #meetings: Meetings | undefined;
  events = 0;

  constructor(cluster: SimCluster, meetings: Meetings | undefined) {
    this.#cluster = cluster;
    this.#meetings = meetings;
  }

  live(): void {
    const { world } = this.#cluster;
    const { dice, timeline } = world;
    this.#cluster.lead();
    const hosts = dice.between(HOSTS, HOSTS + 2);
    for (let i = 0; i < hosts; i++) this.#cluster.join({ zone: dice.chance(0.5) ? 'north' : 'south' });
    timeline.runUntil(timeline.now + 3_000);
    for (let i = 0; i < SERVICES; i++) this.#cluster.users.create(randomSpec(dice, `web${i}`));
    timeline.runUntil(timeline.now + 10_000);
    this.#trouble();
    this.#peace();
    converge(this.#cluster);
  }

  /** Things happen in bursts: what meets what is decided within seconds. */
  #trouble(): void {
    const { dice, timeline } = this.#cluster.world;
    const end = timeline.now + TROUBLE_MS;
    while (timeline.now < end || this.events < EVENTS) {
      const fault = drawFault(dice);
      const met = strike(this.#cluster, fault);
      this.events++;
      this.#meetings?.note(this.#cluster, fault, met);
      timeline.runUntil(timeline.now + (dice.chance(0.5) ? dice.between(0, 300) : dice.between(300, 7_500)));
    }
  }

  /** All faults heal, and every service gets a spec that can be had. */
  #peace(): void {
    const { world, hosts, users } = this.#cluster;
    world.tell(() => 'peace');
    // Power cuts, flapping and pauses that are still under way end by themselves within this time.
    world.timeline.runUntil(world.now + 340_000);
    for (const host of hosts.values()) {
      host.healLink();
      host.powerOn();
    }
    world.timeline.runUntil(world.now + 60_000);
    const [flaw] = stuck(this.#cluster);
    if (flaw !== undefined) throw new Violation(flaw);
    const nodes = [...world.view.all('node')].map(({ value }) => value.id);
    for (const id of nodes) users.edit(id, { availability: 'active' });
    const drained = world.dice.pick(nodes);
    users.edit(drained, { availability: 'drain' });
    for (const id of servicesOf(this.#cluster)) users.update(id, (spec) => this.#possible(spec));
  }

  #possible(spec: ServiceSpec): ServiceSpec {
    const { dice, now } = this.#cluster.world;
    const container = { ...CONTAINER, image: `ok:peace-${now}` };
    const replicas = Math.max(1, spec.mode.replicas);
    const restart = { condition: 'any', delayMs: 1_000, maxAttempts: 0, windowMs: 0 } as const;
    const update = { ...spec.update, delayMs: 0, parallelism: dice.between(1, 3), monitorMs: 2_000 };
    return {
      ...spec,
      mode: { kind: 'replicated', replicas },
      ports: [],
      update,
      template: aTemplate({ container, restart }),
    };
  }
}
