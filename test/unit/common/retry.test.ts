import { expect, it } from 'vitest';
import { retry } from '../../../common/retry.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const never = new AbortController().signal;

/** Fails until the given try. */
function works(onTry: number): (tryNumber: number) => Promise<string> {
  return async (tryNumber) => {
    if (tryNumber < onTry) throw new Error(`try ${tryNumber}`);
    return 'done';
  };
}

it('waits twice as long each time, up to the limit', async () => {
  const clock = new FakeClock();
  const waits: number[] = [];
  const done = retry(works(5), {
    clock,
    signal: never,
    firstMs: 100,
    maxMs: 300,
    jitter: 0,
    onFailure: (_cause, delayMs) => waits.push(delayMs),
  });
  for (let turn = 0; turn < 4; turn += 1) {
    await settle();
    clock.advance(300);
  }
  expect(await done).toBe('done');
  expect(waits).toEqual([100, 200, 300, 300]);
});

it('leaves out a part of the wait by chance', async () => {
  const clock = new FakeClock();
  const waits: number[] = [];
  const onFailure = (_cause: unknown, delayMs: number): void => void waits.push(delayMs);
  const done = retry(works(2), {
    clock,
    signal: never,
    firstMs: 100,
    maxMs: 300,
    jitter: 0.5,
    random: () => 0.5,
    onFailure,
  });
  await settle();
  clock.advance(75);
  await done;
  expect(waits).toEqual([75]);
});

it('gives up after the last try, or when trying again is of no use', async () => {
  const options = { clock: new FakeClock(), signal: never, firstMs: 1, maxMs: 1, jitter: 0 };
  await expect(retry(works(2), { ...options, tries: 1 })).rejects.toThrow('try 1');
  await expect(retry(works(2), { ...options, isWorthwhile: () => false })).rejects.toThrow('try 1');
});

it('stops with the signal’s reason', async () => {
  const stop = new AbortController();
  const done = retry(works(9), { clock: new FakeClock(), signal: stop.signal, firstMs: 1, maxMs: 1, jitter: 0 });
  await settle();
  stop.abort(new Error('enough'));
  await expect(done).rejects.toThrow('enough');
});
