import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { newId } from '../../../common/ids.ts';
import type { Manager } from '../../../common/model/cluster.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import { lead } from '../../../manager/leader.ts';
import type { Reconciler } from '../../../manager/reconcile.ts';
import { reconcileLoop } from '../../../manager/reconcile-loop.ts';
import type { Etcd } from '../../../manager/store/etcd.ts';
import type { EtcdStore } from '../../../manager/store/etcd-store.ts';
import { maintain } from '../../../manager/store/maintenance.ts';
import { put, type Unit } from '../../../manager/store/store.ts';
import { TestEtcd, testLog } from '../../support/etcd.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { aTask, serviceId } from '../../support/objects.ts';
import { Relay } from '../../support/relay.ts';

const soon = (): AbortSignal => AbortSignal.timeout(50_000);
const TASKS = 40;

/** Adds tasks one or a few at a time until each service has TASKS. Makes too many as soon as one plan is made twice. */
const filling: Reconciler = {
  name: 'filling',
  keysOf: (change) => (change.kind === 'task' ? [(change.after ?? change.before)?.serviceId as string] : []),
  allKeys: (view) => new Set([...view.all('task')].map((stored) => stored.value.serviceId as string)),
  decide: (view, key, tick) => {
    const missing = TASKS - [...view.tasksOf(serviceId(key))].length;
    const units = Array.from({ length: Math.max(0, Math.min(3, missing)) }, (): Unit => {
      const id = tick.newTaskId();
      return [put('task', id, aTask(id, key), 0)];
    });
    return { units };
  },
};

let server: TestEtcd;
let etcd: Etcd;
let store: EtcdStore;
beforeEach(async () => {
  server = await TestEtcd.start();
  etcd = server.client();
  store = await server.store(etcd);
});
afterEach(async () => {
  await server?.close();
});

it('plans nothing twice while leaders change, links are cut and etcd is killed', async () => {
  const stop = new AbortController();
  const relays = [await Relay.start(server.server.endpoint), await Relay.start(server.server.endpoint)];
  const managers: Promise<void>[] = [];
  const reigns: string[] = [];
  try {
    for (const [index, relay] of relays.entries()) {
      const own = await server.store(server.client(relay.endpoint));
      const candidate = { managerId: `m${index}` as Manager['id'], address: `m${index}:1` };
      const rule = (reign: Parameters<Parameters<typeof lead>[0]['rule']>[0], signal: AbortSignal): Promise<void> => {
        reigns.push(candidate.managerId);
        return reconcileLoop({ store: own, reign, reconcilers: [filling], clock: systemClock, log: testLog }, signal);
      };
      managers.push(lead({ store: own, clock: systemClock, candidate, log: testLog, rule }, stop.signal));
    }
    const services = Array.from({ length: 12 }, (_, index) => `s${index}`);
    /** Adds services and breaks something while they are being filled. */
    const round = async (names: readonly string[], harm: () => Promise<void> | void): Promise<void> => {
      await store.commit(
        names.map((name): Unit => {
          const id = newId<TaskId>();
          return [put('task', id, aTask(id, name), 0)];
        }),
        soon(),
      );
      await harm();
      const changes = store.changes(soon());
      await store.caughtUp(soon());
      const isFull = (): boolean => names.every((name) => [...store.view.tasksOf(serviceId(name))].length >= TASKS);
      if (!isFull()) for await (const _ of changes) if (isFull()) break;
    };
    await round(services.slice(0, 4), () => server.signal('SIGKILL'));
    await round(services.slice(4, 8), () => {
      const leader = store.view.get('leader', 'default')?.value.managerId;
      relays[leader === 'm0' ? 0 : 1]?.cut();
    });
    for (const relay of relays) if (!relay.isOpen) await relay.mend();
    await round(services.slice(8), async () => {
      const leader = store.view.get('leader', 'default')?.value.managerId;
      const relay = relays[leader === 'm0' ? 0 : 1];
      relay?.cut();
      await relay?.mend();
    });
    await store.caughtUp(soon());
    expect(services.map((name) => [...store.view.tasksOf(serviceId(name))].length)).toEqual(services.map(() => TASKS));
    expect(new Set(reigns).size).toBe(2);
  } finally {
    for (const relay of relays) if (!relay.isOpen) await relay.mend();
    stop.abort();
    await Promise.all(managers);
    for (const relay of relays) await relay.close();
  }
});

it('forgets history that is older than a watcher may be away', async () => {
  const clock = new FakeClock(1);
  const stop = new AbortController();
  for (let mark = 0; mark < 3; mark += 1) await store.caughtUp(soon());
  const old = store.view.revision;
  const maintenance = maintain({ etcd, clock, log: testLog }, stop.signal);
  const looked = async (): Promise<void> => {
    while (clock.timers === 0) await settle();
  };
  const page = (revision: number) => etcd.page({ from: '/covey/', root: '/covey/', limit: 1, revision }, soon());
  try {
    await looked();
    await store.caughtUp(soon());
    await store.caughtUp(soon());
    const young = store.view.revision;
    clock.advance(5_000);
    await looked();
    await expect(page(old)).resolves.toBeDefined();
    clock.advance(5 * 60_000);
    await looked();
    await expect(page(young)).resolves.toBeDefined();
    await expect(page(old - 1)).rejects.toMatchObject({ code: 'conflict' });
  } finally {
    stop.abort();
    await maintenance;
  }
});
