import { expect, it } from 'vitest';
import { Feed } from '../../../../manager/store/feed.ts';
import type { Batch, Change } from '../../../../manager/store/store.ts';
import { aTask } from '../../../support/objects.ts';

const change: Change = { kind: 'task', id: 'a', before: undefined, after: aTask('a') };
const batch = (revision: number, changes = 1): Batch => ({ revision, changes: Array(changes).fill(change) });

/** Reads what is there, without waiting for more. */
async function read(feed: AsyncIterable<Batch | 'resync'>, count: number): Promise<(number | 'resync')[]> {
  const seen: (number | 'resync')[] = [];
  const reader = feed[Symbol.asyncIterator]();
  while (seen.length < count) {
    const next = await reader.next();
    if (next.done === true) break;
    seen.push(next.value === 'resync' ? 'resync' : next.value.revision);
  }
  return seen;
}

it('hands a reader everything from its subscription on', async () => {
  const feed = new Feed();
  feed.publish(batch(1));
  const changes = feed.subscribe(new AbortController().signal);
  feed.publish(batch(2));
  feed.publish(batch(3));
  expect(await read(changes, 2)).toEqual([2, 3]);
});

it('gives a reader that falls behind one resync in place of what it missed', async () => {
  const feed = new Feed(10);
  const signal = new AbortController().signal;
  const [slow, quick] = [feed.subscribe(signal), feed.subscribe(signal)];
  feed.publish(batch(1, 6));
  expect(await read(quick, 1)).toEqual([1]);
  feed.publish(batch(2, 6));
  feed.publish(batch(3, 1));
  expect(await read(slow, 2)).toEqual(['resync', 3]);
});

it('ends a reader with its signal and drops what waited', async () => {
  const feed = new Feed();
  const stop = new AbortController();
  const changes = feed.subscribe(stop.signal);
  feed.publish(batch(1));
  stop.abort();
  expect(await read(changes, 1)).toEqual([]);
});

it('wakes who waits for a revision once it is reached, and not before', async () => {
  const feed = new Feed();
  let reached = false;
  const waiting = feed.reached(3, new AbortController().signal).then(() => {
    reached = true;
  });
  feed.publish(batch(2));
  await Promise.resolve();
  expect(reached).toBe(false);
  feed.publish({ revision: 4, changes: [] });
  await waiting;
  expect(reached).toBe(true);
});

it('stops waiting for a revision with the signal’s reason', async () => {
  const stop = new AbortController();
  const waiting = new Feed().reached(3, stop.signal);
  stop.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});
