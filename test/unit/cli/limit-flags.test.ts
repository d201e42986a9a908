import { expect, it } from 'vitest';
import { createSpec, updatedSpec } from '../../../cli/flags/service-edits.ts';
import { specFlaw } from '../../../common/model/service-rules.ts';

const limitsOf = (given: Record<string, string>) => createSpec('web:1', [], given, {}).template.limits;
const flawOf = (given: Record<string, string>) => specFlaw(createSpec('web:1', [], { name: 'web', ...given }, {}));

it('limits memory and swap together, and the network each way', () => {
  const given = { limitMemory: '64m', memorySwap: '96m', memorySwappiness: '10' };
  expect(limitsOf({ ...given, networkRate: 'egress=5mbit,ingress=1.5gbit' })).toMatchObject({
    memorySwapBytes: 96 << 20,
    memorySwappiness: 10,
    networkEgressBits: 5e6,
    networkIngressBits: 1.5e9,
  });
  expect(limitsOf({ networkRate: '20mbit' })).toMatchObject({ networkEgressBits: 2e7, networkIngressBits: 2e7 });
  expect(flawOf(given)).toBeUndefined();
});

it('limits what a container may write', () => {
  expect(limitsOf({ storageOpt: 'size=10g' })).toMatchObject({ storageBytes: 10 * 2 ** 30 });
  expect(() => limitsOf({ storageOpt: '10g' })).toThrow(expect.objectContaining({ field: '--storage-opt' }));
});

it('leaves a spec as if nothing had been said when a limit is lifted', () => {
  const before = createSpec('web:1', [], { name: 'web' }, {});
  const set = {
    limitMemory: '64m',
    memorySwap: '-1',
    memorySwappiness: '0',
    networkRate: '20mbit',
    storageOpt: 'size=1g',
  };
  const limited = updatedSpec(before, set, {});
  expect(limited.template.limits).toMatchObject({ memorySwapBytes: -1, memorySwappiness: 0 });
  const lifted = updatedSpec(
    limited,
    { limitMemory: '0', memorySwap: '0', memorySwappiness: '-1', networkRate: '0', storageOpt: 'size=0' },
    {},
  );
  expect(lifted).toEqual(before);
});

it.each([
  [{ memorySwap: '64m' }, 'memorySwapBytes'],
  [{ limitMemory: '64m', memorySwap: '32m' }, 'memorySwapBytes'],
  [{ memorySwappiness: '101' }, 'memorySwappiness'],
  [{ networkRate: '7kbit' }, 'networkEgressBits'],
  [{ networkRate: 'ingress=1100gbit' }, 'networkIngressBits'],
  [{ storageOpt: 'size=1k' }, 'storageBytes'],
  [{ storageOpt: 'size=1g', userns: 'host' }, 'storageBytes'],
  [{ storageOpt: 'size=1g', privileged: true }, 'storageBytes'],
  [{ networkRate: '1mbit', capAdd: ['NET_ADMIN'] }, 'networkEgressBits'],
])('refuses %j by its field', (given, field) => {
  expect(flawOf(given as unknown as Record<string, string>)?.field).toBe(`template.limits.${field}`);
});

it.each(['20', '20mb', 'up=20mbit', 'egress=', '-1mbit', ''])(
  'does not take "%s" for a network rate',
  (networkRate) => {
    expect(() => limitsOf({ networkRate })).toThrow(
      expect.objectContaining({ code: 'invalid', field: '--network-rate' }),
    );
  },
);
