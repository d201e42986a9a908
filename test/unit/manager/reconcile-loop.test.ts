import { afterEach, describe, expect, it } from 'vitest';
import { ClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import { NOTHING, type Plan, type Reconciler } from '../../../manager/reconcile.ts';
import { reconcileLoop } from '../../../manager/reconcile-loop.ts';
import { type Change, put, type Reign, type Unit, type View } from '../../../manager/store/store.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { type MemoryReign, MemoryStore } from '../../support/memory-store.ts';
import { aTask, serviceId } from '../../support/objects.ts';

const open = new AbortController().signal;
const never: Iterable<string> = [];
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

interface World {
  readonly store: MemoryStore;
  readonly clock: FakeClock;
  readonly reign: MemoryReign;
  readonly ended: () => boolean;
}

/** A loop over a memory store that runs the given reconcilers. */
async function world(
  reconcilers: readonly Reconciler[],
  options: { readonly store?: MemoryStore; readonly wrap?: (reign: MemoryReign) => Reign } = {},
): Promise<World> {
  const store = options.store ?? new MemoryStore();
  const clock = new FakeClock(1_000);
  const reign = await store.reign({ managerId: 'm' as never, address: 'm:1' }, open);
  const stop = new AbortController();
  let hasEnded = false;
  let made = 0;
  const loop = reconcileLoop(
    {
      store,
      reign: options.wrap?.(reign) ?? reign,
      reconcilers,
      clock,
      log: noLog,
      newTaskId: () => `made${++made}` as TaskId,
    },
    stop.signal,
  ).then(() => {
    hasEnded = true;
  });
  stops.push(async () => {
    stop.abort();
    await loop;
  });
  await settle();
  return { store, clock, reign, ended: () => hasEnded };
}

/** A reconciler with one key per service, which the tasks of the service concern. */
function perService(decide: (view: View, key: string, now: number, newId: () => TaskId) => Plan): Reconciler {
  return {
    name: 'test',
    keysOf: (change: Change) =>
      change.kind === 'task' ? [(change.after ?? change.before)?.serviceId as string] : never,
    allKeys: (view) => new Set([...view.all('task')].map((stored) => stored.value.serviceId as string)),
    decide: (view, key, tick) => decide(view, key, tick.now, () => tick.newTaskId()),
  };
}

const tasksOf = (view: View, service: string): number => [...view.tasksOf(serviceId(service))].length;

/** Wants `count` tasks of each service. */
const wants = (count: number): Reconciler =>
  perService((view, key, _now, newId) => ({
    units: Array.from({ length: Math.max(0, count - tasksOf(view, key)) }, (): Unit => {
      const id = newId();
      return [put('task', id, aTask(id, key), 0)];
    }),
  }));

describe('the loop', () => {
  it('looks at all keys at the start of a reign and then at what changes', async () => {
    const store = new MemoryStore();
    store.put('task', 'a1', aTask('a1', 'a'));
    await world([wants(3)], { store });
    expect(tasksOf(store.view, 'a')).toBe(3);
    store.put('task', 'b1', aTask('b1', 'b'));
    await settle();
    expect(tasksOf(store.view, 'b')).toBe(3);
  });

  it('never plans on a view that does not show its own commits yet', async () => {
    const { store } = await world([wants(3)]);
    store.put('task', 'a1', aTask('a1', 'a'));
    store.hold();
    await settle();
    // The key becomes dirty again while its commit is not in the view.
    store.resync();
    await settle();
    store.release();
    await settle();
    expect([...store.etcd.truth.tasksOf(serviceId('a'))]).toHaveLength(3);
  });

  it('drops a unit that conflicts and decides its key anew', async () => {
    const seen: number[] = [];
    const decide = perService((view, key) => {
      const task = view.get('task', 'a1');
      if (key !== 'a' || task === undefined || task.value.slot === 9) return NOTHING;
      seen.push(task.rev);
      // A stale revision at first: as if somebody had written in between.
      const rev = seen.length === 1 ? task.rev - 1 : task.rev;
      return { units: [[put('task', 'a1', aTask('a1', 'a', { slot: 9 }), rev)]] };
    });
    const { store } = await world([decide]);
    store.put('task', 'a1', aTask('a1', 'a'));
    await settle();
    expect(store.view.get('task', 'a1')?.value.slot).toBe(9);
    expect(seen).toHaveLength(2);
  });

  it('wakes a key when it asked for it', async () => {
    const decidedAt: number[] = [];
    const decide = perService((_view, _key, now) => {
      decidedAt.push(now);
      return now < 6_000 ? { units: [], wakeAt: 6_000 } : NOTHING;
    });
    const { store, clock } = await world([decide]);
    store.put('task', 'a1', aTask('a1', 'a'));
    await settle();
    clock.advance(4_999);
    await settle();
    clock.advance(1);
    await settle();
    expect(decidedAt).toEqual([1_000, 6_000]);
  });

  it('forgets a wake when the key is decided anew without one', async () => {
    let calls = 0;
    const decide = perService(() => {
      calls += 1;
      return calls === 1 ? { units: [], wakeAt: 5_000 } : NOTHING;
    });
    const { store, clock } = await world([decide]);
    store.put('task', 'a1', aTask('a1', 'a'));
    await settle();
    store.put('task', 'a1', aTask('a1', 'a', { slot: 2 }));
    await settle();
    clock.advance(10_000);
    await settle();
    expect(calls).toBe(2);
  });

  it('goes on with the others when one decision throws, and tries that one again later and later', async () => {
    const triedAt: number[] = [];
    const decide = perService((view, key, now, newId) => {
      if (key === 'bad') {
        triedAt.push(now);
        throw new Error('a bug');
      }
      return wants(2).decide(view, key, { now, newTaskId: newId });
    });
    const { store, clock } = await world([decide]);
    store.commitNow([[put('task', 'x', aTask('x', 'bad')), put('task', 'y', aTask('y', 'good'))]]);
    await settle();
    expect(tasksOf(store.view, 'good')).toBe(2);
    for (const wait of [100, 200, 400]) {
      clock.advance(wait);
      await settle();
    }
    expect(triedAt).toEqual([1_000, 1_100, 1_300, 1_700]);
  });

  it('tries again what could not be committed because etcd was away', async () => {
    let isAway = true;
    const wrap = (reign: MemoryReign): Reign => ({
      epoch: reign.epoch,
      lost: reign.lost,
      resign: () => reign.resign(),
      commit: (units, signal) =>
        isAway ? Promise.reject(new ClusterError('unavailable', 'away')) : reign.commit(units, signal),
    });
    const { store, clock } = await world([wants(3)], { wrap });
    store.put('task', 'a1', aTask('a1', 'a'));
    await settle();
    expect(tasksOf(store.view, 'a')).toBe(1);
    isAway = false;
    clock.advance(100);
    await settle();
    expect(tasksOf(store.view, 'a')).toBe(3);
  });

  it('plans nothing twice when a commit was made but its answer was lost', async () => {
    const store = new MemoryStore();
    let failures = 0;
    const wrap = (reign: MemoryReign): Reign => ({
      epoch: reign.epoch,
      lost: reign.lost,
      resign: () => reign.resign(),
      commit: async (units, signal) => {
        const results = await reign.commit(units, signal);
        failures += 1;
        if (failures > 1) return results;
        throw new ClusterError('unavailable', 'no answer');
      },
    });
    const { clock } = await world([wants(3)], { store, wrap });
    store.put('task', 'a1', aTask('a1', 'a'));
    store.hold();
    await settle();
    clock.advance(1_000);
    await settle();
    store.release();
    await settle();
    expect([...store.etcd.truth.tasksOf(serviceId('a'))]).toHaveLength(3);
    expect(failures).toBe(1);
  });

  it('looks at everything again on a resync', async () => {
    const keys: string[] = [];
    const decide = perService((_view, key) => {
      keys.push(key);
      return NOTHING;
    });
    const { store } = await world([decide]);
    store.commitNow([[put('task', 'a1', aTask('a1', 'a')), put('task', 'b1', aTask('b1', 'b'))]]);
    await settle();
    keys.length = 0;
    store.resync();
    await settle();
    expect(keys.sort()).toEqual(['a', 'b']);
  });

  it('ends when the reign is lost and leaves no timer behind', async () => {
    const { store, clock, reign, ended } = await world([perService(() => ({ units: [], wakeAt: 9_000 }))]);
    store.put('task', 'a1', aTask('a1', 'a'));
    await settle();
    expect([ended(), clock.timers]).toEqual([false, 1]);
    await reign.resign();
    await settle();
    expect([ended(), clock.timers]).toEqual([true, 0]);
  });

  it('writes nothing once another reign has begun, told or not', async () => {
    const { store } = await world([wants(3)]);
    store.etcd.usurp();
    store.put('task', 'a1', aTask('a1', 'a'));
    await settle();
    expect(tasksOf(store.view, 'a')).toBe(1);
  });
});
