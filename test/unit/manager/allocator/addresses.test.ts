import { describe, expect, it } from 'vitest';
import { blocks, nextAddress, poolProblem } from '../../../../manager/allocator/addresses.ts';
import type { Plan } from '../../../../manager/reconcile.ts';
import { aCluster, aNode } from '../../../support/fixtures.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const NONE: ReadonlySet<string> = new Set();

function plan(store: MemoryStore): Plan {
  return blocks.decide(store.view, 'cluster', { now: 0, newTaskId: () => 'new' as never });
}

function run(store: MemoryStore): readonly string[] {
  const decided = plan(store);
  store.commitNow(decided.units);
  return decided.units.map(([write]) =>
    write?.kind === 'node' && write.op === 'put' ? `${write.id} ${write.value.block}` : 'something else',
  );
}

function clusterWith(change: Parameters<typeof aCluster>[0], ...nodes: readonly string[]): MemoryStore {
  const store = new MemoryStore();
  store.put('cluster', 'default', aCluster(change));
  for (const [index, id] of nodes.entries()) store.put('node', id, aNode(id, { createdAt: index }));
  return store;
}

describe('address blocks', () => {
  it('go to nodes in the order of joining, lowest first', () => {
    const store = clusterWith({}, 'n2', 'n1');
    expect(run(store)).toEqual(['n2 10.64.0.0/24', 'n1 10.64.1.0/24']);
    expect(run(store)).toEqual([]);
  });

  it('come back when their node is removed', () => {
    const store = clusterWith({}, 'n1', 'n2', 'n3');
    run(store);
    store.commitNow([[{ op: 'delete', kind: 'node', id: 'n2' }]]);
    store.put('node', 'n4', aNode('n4'));
    expect(run(store)).toEqual(['n4 10.64.1.0/24']);
  });

  it('stay where they are when their size is changed, and are not given out twice', () => {
    const store = clusterWith({}, 'n1');
    run(store);
    store.put('cluster', 'default', aCluster({ blockBits: 25 }));
    store.put('node', 'n2', aNode('n2'));
    expect(run(store)).toEqual(['n2 10.64.1.0/25']);
  });

  it('run out with a reason', () => {
    const store = clusterWith({ addressPool: '10.0.0.0/23' }, 'n1', 'n2', 'n3');
    expect(run(store)).toEqual(['n1 10.0.0.0/24', 'n2 10.0.1.0/24']);
    expect(plan(store)).toEqual({ units: [], because: 'pool 10.0.0.0/23 is used up' });
  });

  it('are explained when the settings allow none', () => {
    const store = clusterWith({ blockBits: 8 }, 'n1');
    expect(poolProblem(store.view.get('cluster', 'default')?.value, store.view)).toBe(
      'pool 10.64.0.0/12 has no blocks of /8',
    );
  });
});

describe('the next address of a block', () => {
  it('skips network, host and broadcast address', () => {
    expect(nextAddress('10.0.0.0/29', NONE, NONE, undefined)).toBe('10.0.0.2');
    expect(nextAddress('10.0.0.0/29', NONE, NONE, '10.0.0.6')).toBe('10.0.0.2');
  });

  it('goes on after the last one, so that a dead task is not mistaken for a new one', () => {
    expect(nextAddress('10.0.0.0/29', NONE, NONE, '10.0.0.4')).toBe('10.0.0.5');
  });

  it('is never one whose container may still exist', () => {
    expect(nextAddress('10.0.0.0/29', new Set(['10.0.0.5', '10.0.0.6']), NONE, '10.0.0.4')).toBe('10.0.0.2');
  });

  it('is one of a finished task only when nothing else is free', () => {
    const past = new Set(['10.0.0.2', '10.0.0.3']);
    expect(nextAddress('10.0.0.0/29', NONE, past, undefined)).toBe('10.0.0.4');
    const held = new Set(['10.0.0.4', '10.0.0.5', '10.0.0.6']);
    expect(nextAddress('10.0.0.0/29', held, past, '10.0.0.2')).toBe('10.0.0.3');
  });

  it('is none when all are held', () => {
    const held = new Set(['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6']);
    expect(nextAddress('10.0.0.0/29', held, NONE, undefined)).toBeUndefined();
    expect(nextAddress('nonsense', NONE, NONE, undefined)).toBeUndefined();
  });
});
