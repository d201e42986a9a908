import { describe, expect, it } from 'vitest';
import { withResolvers } from '../../../common/iterate.ts';
import { SingleFlight } from '../../../common/single-flight.ts';

const never = new AbortController().signal;

describe('joined work', () => {
  it('is done once for all that ask while it goes on', async () => {
    const flights = new SingleFlight<string, number>();
    const gate = withResolvers<number>();
    let started = 0;
    const work = (): Promise<number> => {
      started += 1;
      return gate.promise;
    };
    const both = Promise.all([flights.run('a', work, never), flights.run('a', work, never)]);
    gate.resolve(7);
    expect(await both).toEqual([7, 7]);
    expect(started).toBe(1);
    expect(flights.keys).toEqual([]);
  });

  it('goes on when one of two leaves, and is aborted when both have left', async () => {
    const flights = new SingleFlight<string, void>();
    const [one, two] = [new AbortController(), new AbortController()];
    const seen: { signal?: AbortSignal } = {};
    const work = (signal: AbortSignal): Promise<void> => {
      seen.signal = signal;
      return withResolvers<void>().promise;
    };
    const first = flights.run('a', work, one.signal);
    const second = flights.run('a', work, two.signal);
    one.abort(new Error('one leaves'));
    await expect(first).rejects.toThrow('one leaves');
    expect(seen.signal?.aborted).toBe(false);
    two.abort(new Error('two leaves'));
    await expect(second).rejects.toThrow('two leaves');
    expect(seen.signal?.aborted).toBe(true);
  });

  it('starts anew for who comes after everybody has left, once what they left has ended', async () => {
    const flights = new SingleFlight<string, number>();
    const gone = new AbortController();
    const first = withResolvers<number>();
    const left = flights.run('a', () => first.promise, gone.signal);
    gone.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    let started = 0;
    const work = async (): Promise<number> => {
      started += 1;
      return 2;
    };
    const both = [flights.run('a', work, never), flights.run('a', work, never)];
    await flights.run('b', async () => 0, never);
    expect(started).toBe(0);
    first.resolve(1);
    expect(await Promise.all(both)).toEqual([2, 2]);
    expect(started).toBe(1);
    await flights.settled();
  });

  it('fails for all when it fails, and is forgotten', async () => {
    const flights = new SingleFlight<string, number>();
    const failing = (): Promise<number> => Promise.reject(new Error('broken'));
    const both = await Promise.allSettled([flights.run('a', failing, never), flights.run('a', failing, never)]);
    expect(both.map((each) => each.status)).toEqual(['rejected', 'rejected']);
    expect(await flights.run('a', () => Promise.resolve(1), never)).toBe(1);
  });
});
