import { expect, it } from 'vitest';
import { withResolvers } from '../../../common/iterate.ts';
import { several } from '../../../common/several.ts';

const never = new AbortController().signal;

it('works on so many at once, begun in their order', async () => {
  const gate = withResolvers<void>();
  const begun: number[] = [];
  const work = async (item: number): Promise<void> => {
    begun.push(item);
    await gate.promise;
  };
  const done = several([1, 2, 3, 4, 5], 2, work, never);
  expect(begun).toEqual([1, 2]);
  gate.resolve();
  await done;
  expect(begun).toEqual([1, 2, 3, 4, 5]);
});

it('ends with the first failure, when the others have heard of it', async () => {
  const ends: unknown[] = [];
  const work = async (item: number, signal: AbortSignal): Promise<void> => {
    if (item === 2) throw new Error('two');
    await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
    ends.push(item);
    signal.throwIfAborted();
  };
  await expect(several([1, 2, 3], 2, work, never)).rejects.toThrow('two');
  expect(ends).toEqual([1]);
});

it('ends with the reason of an abort, and begins nothing more', async () => {
  const stop = new AbortController();
  const begun: number[] = [];
  const work = async (item: number): Promise<void> => {
    begun.push(item);
    stop.abort(new Error('enough'));
  };
  await expect(several([1, 2, 3], 1, work, stop.signal)).rejects.toThrow('enough');
  expect(begun).toEqual([1]);
});

it('has nothing to do with no items', async () => {
  await several([], 3, () => expect.fail('nothing is to be done'), never);
});
