import { expect, it } from 'vitest';
import { latest, Queue, untilAborted, withResolvers } from '../../../common/iterate.ts';

const never = new AbortController().signal;

it('hands over values in order and refuses more than its limit', async () => {
  const queue = new Queue<number>(2, never);
  expect([queue.push(1), queue.push(2), queue.push(3)]).toEqual([true, true, false]);
  queue.end();
  const seen: number[] = [];
  for await (const value of queue) seen.push(value);
  expect(seen).toEqual([1, 2]);
});

it('keeps the order over many reads', async () => {
  const queue = new Queue<number>(10_000, never);
  for (let value = 0; value < 5_000; value += 1) queue.push(value);
  queue.end();
  let next = 0;
  for await (const value of queue) expect(value).toBe(next++);
  expect(next).toBe(5_000);
});

it('gives a waiting reader the next value, the failure or the end', async () => {
  const queue = new Queue<number>(1, never);
  const first = queue.next();
  queue.push(1);
  expect(await first).toEqual({ done: false, value: 1 });
  const second = queue.next();
  queue.fail(new Error('broken'));
  await expect(second).rejects.toThrow('broken');
  const stop = new AbortController();
  const waiting = new Queue<number>(1, stop.signal).next();
  stop.abort();
  expect((await waiting).done).toBe(true);
});

it('keeps only the newest value for a slow reader', async () => {
  async function* source(): AsyncIterable<number> {
    for (let value = 1; value <= 5; value += 1) yield value;
  }
  const gate = withResolvers<void>();
  const seen: number[] = [];
  for await (const value of latest(source(), never)) {
    seen.push(value);
    if (seen.length === 1) setImmediate(() => gate.resolve());
    await gate.promise;
  }
  expect(seen.at(-1)).toBe(5);
  expect(seen.length).toBeLessThan(5);
});

it('waits no longer than the signal lives', async () => {
  const stop = new AbortController();
  const waiting = untilAborted(withResolvers<void>().promise, stop.signal);
  stop.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});
