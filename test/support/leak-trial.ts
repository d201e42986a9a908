/**
 * Many containers from creation to removal, some of them killed at a sync point on the way, and what that has cost this
 * process and this machine. Everything follows from the seed but the order in which the kernel gets things done.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Dice } from '../sim/dice.ts';
import { forever, type NativeWorld } from './native-world.ts';

export interface LeakTrial {
  readonly starts: number;
  /** Containers under way at once. */
  readonly concurrency: number;
  /** Share of the containers that meet a fault, from 0 to 1. */
  readonly faults: number;
  /** First part of every id; nothing else on the machine bears it. */
  readonly mark: string;
  /** Aborted: no further container is begun, and those under way are seen to their end. Default: never. */
  readonly signal?: AbortSignal;
}

/** How many containers ended how, and all of them are `starts`. */
export interface LeakOutcome {
  readonly ended: number;
  /** Killed at a sync point and told so. */
  readonly refused: number;
  readonly ms: number;
}

/** What this process holds, and what grows when something is forgotten; for the machine see `leftovers`. */
export interface Holdings {
  readonly descriptors: number;
  readonly threads: number;
  readonly rssKib: number;
}

/** Where a process of a container dies; `#TIME` is left out where a point is passed once. */
const DEADLY = [
  ...['plan', 'settings', 'cgroup', 'control', 'spawn', 'ready', 'state', 'answer'].map((name) => `create.${name}`),
  ...['born', 'placed', 'go'].map((name) => `init.${name}`),
  ...['asked', 'sent', 'heard'].map((name) => `start.${name}`),
  ...['seen', 'reaped', 'drained', 'recorded', 'told'].map((name) => `exit.${name}`),
];
const INIT_STEPS = 40;
const KIB_A_PAGE = 4;

export async function leakTrial(world: NativeWorld, trial: LeakTrial, dice: Dice): Promise<LeakOutcome> {
  const started = performance.now();
  let next = 0;
  let ended = 0;
  let refused = 0;
  const signal = trial.signal ?? forever;
  let isBroken = false;
  const live = async () => {
    while (next < trial.starts && !isBroken && !signal.aborted) {
      next += 1;
      const id = `${trial.mark}${next}`;
      const env = dice.chance(trial.faults) ? [`COVEY_FAULT=${faultOf(dice)}:die`] : [];
      try {
        await world.runtime.create({ ...world.request(['exit', '0'], { template: { env } }), id }, forever);
        await world.runtime.start(id, forever);
        await world.runtime.wait(id, forever);
        ended += 1;
      } catch (cause) {
        // Without a fault nothing may go wrong.
        isBroken ||= env.length === 0;
        if (isBroken) throw cause;
        refused += 1;
      }
      await world.runtime.remove(id);
    }
  };
  // All of them: nothing may be under way when the world is taken down.
  const outcomes = await Promise.allSettled(Array.from({ length: trial.concurrency }, live));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  signal.throwIfAborted();
  return { ended, refused, ms: performance.now() - started };
}

function faultOf(dice: Dice): string {
  return dice.chance(0.3) ? `init.step#${dice.between(1, INIT_STEPS)}` : dice.pick(DEADLY);
}

export function holdings(): Holdings {
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    rssKib: Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * KIB_A_PAGE,
  };
}
