import { describe, expect, it } from 'vitest';
import type { Task } from '../../../../common/model/task.ts';
import { Cache, type Entry } from '../../../../manager/store/cache.ts';
import type { Stored } from '../../../../manager/store/store.ts';
import { aTask, nodeId, serviceId } from '../../../support/objects.ts';

const entry = (task: Task, rev: number): Entry => ({ kind: 'task', id: task.id, stored: { value: task, rev } });
const gone = (id: string): Entry => ({ kind: 'task', id, stored: undefined });
const ids = (tasks: Iterable<Stored<Task>>): string[] => [...tasks].map((stored) => stored.value.id);

describe('the view', () => {
  it('finds the tasks of a service and of a node', () => {
    const cache = new Cache();
    cache.apply(2, [entry(aTask('a', 'web', { nodeId: nodeId('n1') }), 2), entry(aTask('b', 'web'), 2)]);
    cache.apply(3, [entry(aTask('c', 'db', { nodeId: nodeId('n1') }), 3)]);
    expect(ids(cache.tasksOf(serviceId('web')))).toEqual(['a', 'b']);
    expect(ids(cache.tasksOn(nodeId('n1')))).toEqual(['a', 'c']);
    expect(ids(cache.tasksOn(nodeId('n2')))).toEqual([]);
    expect(cache.revision).toBe(3);
  });

  it('moves a task to its node when it is bound and forgets it when it is deleted', () => {
    const cache = new Cache();
    cache.apply(2, [entry(aTask('a'), 2)]);
    cache.apply(3, [entry(aTask('a', 'web', { nodeId: nodeId('n1') }), 3)]);
    expect(ids(cache.tasksOn(nodeId('n1')))).toEqual(['a']);
    expect(cache.get('task', 'a')?.rev).toBe(3);
    cache.apply(4, [gone('a')]);
    expect(ids(cache.tasksOn(nodeId('n1')))).toEqual([]);
    expect(ids(cache.tasksOf(serviceId('web')))).toEqual([]);
  });

  it('tells for each change what was there before', () => {
    const cache = new Cache();
    const first = aTask('a');
    const second = aTask('a', 'web', { slot: 2 });
    cache.apply(2, [entry(first, 2)]);
    expect(cache.apply(4, [entry(second, 3), gone('a')])).toEqual({
      revision: 4,
      changes: [
        { kind: 'task', id: 'a', before: first, after: second },
        { kind: 'task', id: 'a', before: second, after: undefined },
      ],
    });
  });

  it('refuses to go back', () => {
    const cache = new Cache();
    cache.apply(5, []);
    expect(() => cache.apply(4, [])).toThrow(/older revision 4/);
  });

  it('takes a complete reading as the difference and keeps what has not changed', () => {
    const cache = new Cache();
    cache.apply(4, [entry(aTask('kept'), 2), entry(aTask('changed'), 3), entry(aTask('gone', 'db'), 4)]);
    const kept = cache.get('task', 'kept');
    const batch = cache.replace(9, [
      entry(aTask('kept'), 2),
      entry(aTask('changed', 'web', { slot: 2 }), 8),
      entry(aTask('new'), 9),
    ]);
    expect(batch.changes.map((change) => [change.id, change.before !== undefined, change.after !== undefined])).toEqual(
      [
        ['changed', true, true],
        ['new', false, true],
        ['gone', true, false],
      ],
    );
    expect(cache.get('task', 'kept')).toBe(kept);
    expect(ids(cache.tasksOf(serviceId('db')))).toEqual([]);
    expect(cache.revision).toBe(9);
  });

  it('can be replaced by a restored store that counts from lower down', () => {
    const cache = new Cache();
    cache.apply(100, [entry(aTask('a'), 100)]);
    cache.replace(7, [entry(aTask('a'), 5)]);
    expect(cache.revision).toBe(7);
    expect(cache.get('task', 'a')?.rev).toBe(5);
  });
});
