import { describe, expect, it } from 'vitest';
import type { Cluster, Manager } from '../../../common/model/cluster.ts';
import { check, put, remove } from '../../../manager/store/store.ts';
import { MemoryEtcd, MemoryStore } from '../../support/memory-store.ts';
import { aTask } from '../../support/objects.ts';

const open = new AbortController().signal;
const candidate = { managerId: 'm1' as Manager['id'], address: 'm1:1' };

describe('the store in memory', () => {
  it('gives one revision to all units of a transaction and lets each conflict by itself', () => {
    const store = new MemoryStore();
    const rev = store.put('task', 'a', aTask('a'));
    const results = store.commitNow([
      [put('task', 'a', aTask('a'), rev), put('task', 'b', aTask('b'), 0)],
      [put('task', 'c', aTask('c'), 99)],
      [check('task', 'z', 0), put('task', 'd', aTask('d'))],
    ]);
    expect(results).toEqual([{ kind: 'done', revision: 2 }, { kind: 'conflict' }, { kind: 'done', revision: 2 }]);
    expect(['a', 'b', 'c', 'd'].map((id) => store.view.get('task', id)?.rev)).toEqual([2, 2, undefined, 2]);
  });

  it('lets the second unit on a key see what the first has written', () => {
    const store = new MemoryStore();
    const results = store.commitNow([[put('task', 'a', aTask('a'), 0)], [put('task', 'a', aTask('a'), 0)]]);
    expect(results.map((result) => result.kind)).toEqual(['done', 'conflict']);
  });

  it('makes no revision for a unit that only checks or deletes what is not there', () => {
    const store = new MemoryStore();
    store.put('task', 'a', aTask('a'));
    expect(store.commitNow([[check('task', 'a', 1)], [remove('task', 'z')]])).toEqual([
      { kind: 'done', revision: 1 },
      { kind: 'done', revision: 1 },
    ]);
  });

  it('refuses the commits of a reign that has ended, told or not', async () => {
    const etcd = new MemoryEtcd();
    const store = etcd.connect();
    store.put('cluster', 'default', { incarnation: 3 } as Cluster);
    const reign = await store.reign(candidate, open);
    expect(reign.epoch).toEqual({ incarnation: 3, reign: 2 });
    expect(reign.commitNow([[put('task', 'a', aTask('a'))]])).toEqual([{ kind: 'done', revision: 3 }]);
    etcd.usurp();
    expect(reign.lost.aborted).toBe(false);
    expect(reign.commitNow([[put('task', 'b', aTask('b'))]])).toEqual([{ kind: 'lost' }]);
    const next = await store.reign(candidate, open);
    expect(next.epoch.reign).toBeGreaterThan(reign.epoch.reign);
    etcd.depose();
    expect(next.lost.aborted).toBe(true);
    expect(store.view.get('task', 'b')).toBeUndefined();
  });

  it('gives the lead to the next candidate when it is resigned', async () => {
    const etcd = new MemoryEtcd();
    const first = await etcd.connect().reign(candidate, open);
    const second = etcd.connect().reign(candidate, open);
    await first.resign();
    expect((await second).lost.aborted).toBe(false);
  });

  it('shows a held view as it was and catches up when released', async () => {
    const etcd = new MemoryEtcd();
    const [ahead, behind] = [etcd.connect(), etcd.connect()];
    behind.hold();
    ahead.put('task', 'a', aTask('a'));
    ahead.put('task', 'b', aTask('b'));
    expect([ahead.view.revision, behind.view.revision]).toEqual([2, 0]);
    const arrived = behind.reached(2, open);
    behind.release();
    await arrived;
    expect(behind.view.get('task', 'b')?.rev).toBe(2);
  });

  it('freezes what is stored', () => {
    const store = new MemoryStore();
    store.put('task', 'a', aTask('a'));
    const task = store.view.get('task', 'a')?.value as { slot: number };
    expect(() => {
      task.slot = 2;
    }).toThrow(TypeError);
  });

  it('tells stores and observers the transactions in order, also when an observer commits again', () => {
    const etcd = new MemoryEtcd();
    const first = etcd.connect();
    const seen: number[] = [];
    etcd.onCommit(({ batch }) => {
      seen.push(batch.revision);
      if (batch.revision === 1) first.put('task', 'b', aTask('b'));
    });
    const second = etcd.connect();
    first.put('task', 'a', aTask('a'));
    expect(seen).toEqual([1, 2]);
    expect(second.view.revision).toBe(2);
  });
});
