import { expect, it } from 'vitest';
import { StaleAddresses } from '../../../../agent/network/stale.ts';
import { type PromiseWithResolvers, withResolvers } from '../../../../common/iterate.ts';

/** A kernel whose walks end when the test says so. */
class SlowKernel {
  readonly walks: { readonly addresses: readonly string[]; readonly end: PromiseWithResolvers<number> }[] = [];

  forgetAddresses(addresses: readonly string[]): Promise<number> {
    const end = withResolvers<number>();
    this.walks.push({ addresses: [...addresses], end });
    return end.promise;
  }
}

/** All that can happen without the kernel has happened afterwards. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

it('walks once for all addresses that came during the walk before', async () => {
  const kernel = new SlowKernel();
  const stale = new StaleAddresses(kernel);
  const all = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => stale.forget(address));
  expect(kernel.walks.map((walk) => walk.addresses)).toEqual([['10.0.0.1']]);
  kernel.walks[0]?.end.resolve(0);
  await all[0];
  await quiet();
  expect(kernel.walks.map((walk) => walk.addresses)).toEqual([['10.0.0.1'], ['10.0.0.2', '10.0.0.3']]);
  kernel.walks[1]?.end.resolve(4);
  await Promise.all(all);
});

it('lets an address be used when it was walked for, and one that is not stale at once', async () => {
  const kernel = new SlowKernel();
  const stale = new StaleAddresses(kernel);
  await stale.settled('10.0.0.9');
  const gone = stale.forget('10.0.0.1');
  let isUsable = false;
  const settled = stale.settled('10.0.0.1').then(() => {
    isUsable = true;
  });
  await quiet();
  expect(isUsable).toBe(false);
  kernel.walks[0]?.end.resolve(1);
  await Promise.all([gone, settled]);
  expect(kernel.walks).toHaveLength(1);
});

it('keeps an address stale until a walk for it has succeeded', async () => {
  const kernel = new SlowKernel();
  const stale = new StaleAddresses(kernel);
  const gone = stale.forget('10.0.0.1');
  kernel.walks[0]?.end.reject(new Error('ENOBUFS'));
  await expect(gone).rejects.toThrow('ENOBUFS');
  const settled = stale.settled('10.0.0.1');
  expect(kernel.walks.map((walk) => walk.addresses)).toEqual([['10.0.0.1'], ['10.0.0.1']]);
  kernel.walks[1]?.end.resolve(0);
  await settled;
});
