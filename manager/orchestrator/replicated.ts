/**
 * Keeps the slots of replicated services: as many as wanted, each with one task that runs.
 *
 * In go services, tasks, their statuses and the nodes' states; out go new tasks and steps of `desired`. It never updates
 * (that is the updater's), never places (the scheduler's) and never deletes (the reaper's).
 */
import type { Instant } from '../../common/model/ids.ts';
import type { Plan, Reconciler } from '../reconcile.ts';
import type { Unit } from '../store/store.ts';
import { allServices, servicesOf } from './keys.ts';
import { mend } from './mend.ts';
import { farewell, resize } from './scale.ts';
import { sceneOf } from './scene.ts';

/** The reconciler of replicated services; key = service id. */
export const replicated: Reconciler = {
  name: 'replicated',
  keysOf: servicesOf,
  allKeys: allServices,
  decide(view, key, tick) {
    const service = view.get('service', key);
    if (service === undefined) return { units: farewell({ view, now: tick.now }, key) };
    const scene = sceneOf(view, service, tick);
    const { units, leaving } = resize(scene);
    const mended: Unit[] = [];
    let wakeAt: Instant | undefined;
    for (const slot of scene.slots.values()) {
      if (leaving.has(slot.number)) continue;
      const step = mend(scene, slot);
      if (step.unit !== undefined) mended.push(step.unit);
      wakeAt = earliest(wakeAt, step.wakeAt);
    }
    return plan([...units, ...mended], wakeAt);
  },
};

/** A plan without a `wakeAt` that is undefined. */
export function plan(units: readonly Unit[], wakeAt: Instant | undefined): Plan {
  return wakeAt === undefined ? { units } : { units, wakeAt };
}

/** The earlier of two instants, either of which may be missing. */
function earliest(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
