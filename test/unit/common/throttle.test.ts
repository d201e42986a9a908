import { describe, expect, it } from 'vitest';
import { Throttle } from '../../../common/throttle.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const never = new AbortController().signal;

/** Takes `bytes` and notes when it was let through. */
function taker(throttle: Throttle, clock: FakeClock) {
  const through: string[] = [];
  const take = (name: string, bytes: number, signal = never) =>
    throttle.take(bytes, signal).then(
      (gone) => {
        through.push(`${name} ${clock.now()}`);
        return gone;
      },
      () => {
        through.push(`${name} left`);
        return () => {};
      },
    );
  return { through, take };
}

describe('a throttle', () => {
  it('lets so many bytes a second through, in the order in which they came', async () => {
    const clock = new FakeClock(10_000);
    const { through, take } = taker(new Throttle({ clock, bytesPerSecond: 1_000, atOnce: 10 }), clock);
    for (const name of ['a', 'b', 'c']) void take(name, 1_000);
    for (let ms = 0; ms < 2_000; ms += 50) {
      await settle();
      clock.advance(50);
    }
    await settle();
    expect(through).toEqual(['a 10000', 'b 10950', 'c 11950']);
  });

  it('lets no more through at once than it may', async () => {
    const clock = new FakeClock(0);
    const { through, take } = taker(new Throttle({ clock, bytesPerSecond: 0, atOnce: 1 }), clock);
    const first = take('a', 1);
    void take('b', 1);
    await settle();
    expect(through).toEqual(['a 0']);
    const gone = await first;
    gone();
    gone();
    void take('c', 1);
    await settle();
    expect(through).toEqual(['a 0', 'b 0']);
  });

  it('gives the time of who leaves to the others', async () => {
    const clock = new FakeClock(10_000);
    const { through, take } = taker(new Throttle({ clock, bytesPerSecond: 1_000, atOnce: 10 }), clock);
    const stop = new AbortController();
    void take('a', 1_000);
    void take('b', 1_000, stop.signal);
    await settle();
    stop.abort();
    await settle();
    void take('c', 1_000);
    await settle();
    clock.advance(950);
    await settle();
    expect(through).toEqual(['a 10000', 'b left', 'c 10950']);
  });
});
