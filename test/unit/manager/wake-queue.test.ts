import fc from 'fast-check';
import { expect, it } from 'vitest';
import { WakeQueue } from '../../../manager/wake-queue.ts';
import { FakeClock } from '../../support/fake-clock.ts';

it('wakes in the order of time with one timer for all', () => {
  const clock = new FakeClock();
  const woken: string[] = [];
  const queue = new WakeQueue<string>(clock, (what) => woken.push(`${what}@${clock.now()}`));
  queue.set('b', 'b', 20);
  queue.set('a', 'a', 10);
  queue.set('c', 'c', 20);
  expect(clock.timers).toBe(1);
  clock.advance(30);
  expect(woken).toEqual(['a@10', 'b@20', 'c@20']);
});

it('keeps only the last time set for a name', () => {
  const clock = new FakeClock();
  const woken: number[] = [];
  const queue = new WakeQueue<number>(clock, () => woken.push(clock.now()));
  queue.set('a', 1, 10);
  queue.set('a', 1, 30);
  queue.set('b', 2, 5);
  queue.cancel('b');
  clock.advance(100);
  expect(woken).toEqual([30]);
});

it('wakes what is overdue at once, and nothing after it was cleared', () => {
  const clock = new FakeClock(1_000);
  let woken = 0;
  const queue = new WakeQueue<number>(clock, () => (woken += 1));
  queue.set('a', 1, 0);
  clock.advance(0);
  expect(woken).toBe(1);
  queue.set('a', 1, 2_000);
  queue.clear();
  clock.advance(5_000);
  expect([woken, clock.timers]).toEqual([1, 0]);
});

it('agrees with a sorted list, whatever is set and cancelled', () => {
  const step = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd', 'e'), at: fc.nat(50), isCancel: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const clock = new FakeClock();
      const woken: string[] = [];
      const queue = new WakeQueue<string>(clock, (what) => woken.push(`${what}@${clock.now()}`));
      const model = new Map<string, number>();
      for (const { name, at, isCancel } of steps) {
        if (isCancel) {
          queue.cancel(name);
          model.delete(name);
        } else {
          queue.set(name, name, at);
          model.set(name, at);
        }
      }
      clock.advance(100);
      expect([...woken].sort()).toEqual([...model].map(([name, at]) => `${name}@${at}`).sort());
      expect(woken.map((entry) => Number(entry.split('@')[1]))).toEqual([...model.values()].sort((a, b) => a - b));
    }),
  );
});
