/** What may be said of a task's limits beyond CPU, memory and processes. */
import type { Limits } from './service.ts';
import { type Flaw, firstFlaw } from './spec-flaw.ts';

/** Slower than this, a connection would not come about before it is given up. */
const RATE_MIN_BITS = 8_000;
const RATE_MAX_BITS = 1e12;

export function moreLimitsFlaw(limits: Limits): Flaw | undefined {
  return firstFlaw(
    () => swapFlaw(limits),
    () => swappinessFlaw(limits.memorySwappiness),
    () => rateFlaw(limits.networkEgressBits, 'template.limits.networkEgressBits'),
    () => rateFlaw(limits.networkIngressBits, 'template.limits.networkIngressBits'),
  );
}

function swapFlaw({ memoryBytes, memorySwapBytes }: Limits): Flaw | undefined {
  if (memorySwapBytes === undefined) return undefined;
  const field = 'template.limits.memorySwapBytes';
  if (memoryBytes === 0) {
    return { message: 'a limit of memory and swap needs one of memory', field, hint: 'add --limit-memory' };
  }
  if (memorySwapBytes === -1) return undefined;
  if (Number.isSafeInteger(memorySwapBytes) && memorySwapBytes >= memoryBytes) return undefined;
  return {
    message: `${memorySwapBytes} bytes of memory and swap are less than the ${memoryBytes} of memory alone`,
    field,
    hint: 'give the sum of memory and swap, or -1 for no limit of swap',
  };
}

function swappinessFlaw(swappiness: number | undefined): Flaw | undefined {
  if (swappiness === undefined) return undefined;
  if (Number.isInteger(swappiness) && swappiness >= 0 && swappiness <= 100) return undefined;
  const field = 'template.limits.memorySwappiness';
  return { message: `a swappiness of ${swappiness} is out of range`, field, hint: 'give 0 to 100' };
}

function rateFlaw(bits: number | undefined, field: string): Flaw | undefined {
  if (bits === undefined || bits === 0) return undefined;
  if (Number.isSafeInteger(bits) && bits >= RATE_MIN_BITS && bits <= RATE_MAX_BITS) return undefined;
  return { message: `${bits} bits a second are out of range`, field, hint: 'give at least 8kbit, or 0 for no limit' };
}
