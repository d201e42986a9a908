import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aborted } from '../../../common/iterate.ts';
import type { Manager } from '../../../common/model/cluster.ts';
import type { Etcd } from '../../../manager/store/etcd.ts';
import type { EtcdStore } from '../../../manager/store/etcd-store.ts';
import { type CommitResult, check, put, remove, type Unit } from '../../../manager/store/store.ts';
import { TestEtcd } from '../../support/etcd.ts';
import { aTask, serviceId } from '../../support/objects.ts';

const candidate = (name: string) => ({ managerId: name as Manager['id'], address: `${name}:1` });
const soon = (): AbortSignal => AbortSignal.timeout(30_000);
const kinds = (results: readonly CommitResult[]): string[] => results.map((result) => result.kind);

/** The revision of a unit that was done. */
function revisionOf(result: CommitResult | undefined): number {
  if (result?.kind !== 'done') throw new Error(`not done but ${result?.kind}`);
  return result.revision;
}

let server: TestEtcd;
let etcd: Etcd;
let store: EtcdStore;

beforeAll(async () => {
  server = await TestEtcd.start();
  etcd = server.client();
  store = await server.store(etcd);
});
afterAll(async () => {
  await server?.close();
});

describe('a commit', () => {
  it('is in the view of every manager once its revision is reached', async () => {
    const other = await server.store();
    const [result] = await store.commit([[put('task', 'seen', aTask('seen'), 0)]], soon());
    await other.reached(revisionOf(result), soon());
    expect(other.view.get('task', 'seen')).toEqual({ value: aTask('seen'), rev: revisionOf(result) });
  });

  it('packs units into one transaction in which each conflicts by itself', async () => {
    const [first] = await store.commit([[put('task', 'p1', aTask('p1'))]], soon());
    const rev = revisionOf(first);
    const results = await store.commit(
      [
        [put('task', 'p1', aTask('p1', 'web', { slot: 2 }), rev), put('task', 'p2', aTask('p2'), 0)],
        [put('task', 'p3', aTask('p3'), 99)],
        [check('task', 'absent', 0), put('task', 'p4', aTask('p4'))],
        [check('task', 'absent', 5), put('task', 'p5', aTask('p5'))],
      ],
      soon(),
    );
    expect(kinds(results)).toEqual(['done', 'conflict', 'done', 'conflict']);
    expect(revisionOf(results[2])).toBe(revisionOf(results[0]));
    await store.reached(revisionOf(results[0]), soon());
    const there = ['p1', 'p2', 'p3', 'p4', 'p5'].filter((id) => store.view.get('task', id) !== undefined);
    expect(there).toEqual(['p1', 'p2', 'p4']);
  });

  it('lets the second of two units on one key see the first', async () => {
    const results = await store.commit(
      [[put('task', 'twice', aTask('twice'), 0)], [put('task', 'twice', aTask('twice'), 0)]],
      soon(),
    );
    expect(kinds(results)).toEqual(['done', 'conflict']);
  });

  it('names a revision that the view reaches also when it wrote nothing', async () => {
    const results = await store.commit([[remove('task', 'never-was')], [check('task', 'never-was', 0)]], soon());
    expect(kinds(results)).toEqual(['done', 'done']);
    for (const result of results) await store.reached(revisionOf(result), soon());
  });

  it('from many callers in the same moment makes few revisions', async () => {
    const before = store.view.revision;
    const writers = Array.from({ length: 90 }, (_, index) => {
      const id = `many${index}`;
      return store.commit([[put('task', id, aTask(id, 'many'))]], soon());
    });
    const last = Math.max(...(await Promise.all(writers)).map((results) => revisionOf(results[0])));
    await store.reached(last, soon());
    expect([...store.view.tasksOf(serviceId('many'))]).toHaveLength(90);
    expect(last - before).toBeLessThanOrEqual(2);
  });

  it('carries the largest units that are allowed, as many as fit', async () => {
    const unit = (number: number): Unit =>
      Array.from({ length: 32 }, (_, index) =>
        put('task', `u${number}-${index}`, aTask(`u${number}-${index}`, 'large'), 0),
      );
    const results = await store.commit(
      Array.from({ length: 96 }, (_, number) => unit(number)),
      soon(),
    );
    expect(new Set(kinds(results))).toEqual(new Set(['done']));
  });

  it('of 5,000 objects is read whole by a manager that starts', async () => {
    const units = Array.from({ length: 5_000 }, (_, index): Unit => {
      const id = `load${index}`;
      return [put('task', id, aTask(id, 'load', { pending: 'x'.repeat(200) }))];
    });
    await store.commit(units, soon());
    const late = await server.store();
    expect([...late.view.tasksOf(serviceId('load'))]).toHaveLength(5_000);
  });

  it('of another cluster in the same etcd is not seen', async () => {
    const stranger = await server.store(etcd, 'other');
    const [result] = await stranger.commit([[put('task', 'alien', aTask('alien'))]], soon());
    const [ours] = await store.commit([[put('task', 'ours', aTask('ours'))]], soon());
    expect(revisionOf(ours)).toBeGreaterThan(revisionOf(result));
    await store.reached(revisionOf(ours), soon());
    expect(store.view.get('task', 'alien')).toBeUndefined();
  });
});

describe('a reign', () => {
  it('is one at a time, and a resigned one makes room at once', async () => {
    const other = await server.store();
    const first = await store.reign(candidate('m1'), soon());
    expect(store.view.get('leader', 'default')?.value.managerId).toBe('m1');
    const second = other.reign(candidate('m2'), soon());
    await expect(Promise.race([second, store.commit([[put('task', 'x', aTask('x'))]], soon())])).resolves.toHaveLength(
      1,
    );
    await first.resign();
    const next = await second;
    expect(next.epoch.reign).toBeGreaterThan(first.epoch.reign);
    expect(first.lost.aborted).toBe(true);
    await next.resign();
  });

  it('that was deposed commits nothing and learns it from the refusal', async () => {
    const reign = await store.reign(candidate('m1'), soon());
    expect(kinds(await reign.commit([[put('task', 'f1', aTask('f1'))]], soon()))).toEqual(['done']);
    const blind = await server.store();
    const results = reign.commit([[put('task', 'f2', aTask('f2'))]], soon());
    await blind.commit([[remove('leader', 'default')]], soon());
    await results;
    await aborted(reign.lost);
    expect(kinds(await reign.commit([[put('task', 'f3', aTask('f3'))]], soon()))).toEqual(['lost']);
    expect(await etcd.page({ from: '/covey/task/f3', root: '/covey/task/f3/', limit: 1 }, soon())).toMatchObject({
      objects: [],
    });
    await reign.resign();
  });

  it('keeps its lease far longer than the lease’s length', async () => {
    const reign = await store.reign(candidate('m1'), soon());
    await expect(aborted(AbortSignal.any([reign.lost, AbortSignal.timeout(5_000)]))).resolves.toBeUndefined();
    expect(reign.lost.aborted).toBe(false);
    await reign.resign();
  });

  it('announces managers as long as they are there', async () => {
    const stop = new AbortController();
    const manager: Manager = { id: 'm9' as Manager['id'], address: 'm9:1', version: '0', startedAt: 1 };
    const changes = store.changes(soon());
    const announced = store.announce(manager, stop.signal);
    for await (const _ of changes) if (store.view.get('manager', 'm9') !== undefined) break;
    stop.abort();
    await announced;
    const later = store.changes(soon());
    if (store.view.get('manager', 'm9') !== undefined) {
      for await (const _ of later) if (store.view.get('manager', 'm9') === undefined) break;
    }
    expect(store.view.get('manager', 'm9')).toBeUndefined();
  });
});
