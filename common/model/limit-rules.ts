/** What may be said of a task's limits beyond CPU, memory and processes. */
import { DEFAULT_PROCESS_RULES } from './process-rules.ts';
import type { ContainerTemplate, Limits, TaskTemplate } from './service.ts';
import { type Flaw, firstFlaw } from './spec-flaw.ts';

/** Slower than this, a connection would not come about before it is given up. */
const RATE_MIN_BITS = 8_000;
const RATE_MAX_BITS = 1e12;
const STORAGE_MIN_BYTES = 2 ** 20;
const STORAGE_MAX_BYTES = 2 ** 50;

export function moreLimitsFlaw({ limits, container }: TaskTemplate): Flaw | undefined {
  return firstFlaw(
    () => swapFlaw(limits),
    () => swappinessFlaw(limits.memorySwappiness),
    () => rateFlaw(limits.networkEgressBits, 'template.limits.networkEgressBits'),
    () => rateFlaw(limits.networkIngressBits, 'template.limits.networkIngressBits'),
    () => storageFlaw(limits.storageBytes),
    () => powerlessFlaw(limits, container),
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

/** Limits that the container could take away itself. */
function powerlessFlaw({ networkEgressBits, storageBytes }: Limits, container: ContainerTemplate): Flaw | undefined {
  const { capAdd, privileged } = container.process ?? DEFAULT_PROCESS_RULES;
  const ownsNetwork = privileged || capAdd.some((name) => name === 'ALL' || name === 'CAP_NET_ADMIN');
  if (networkEgressBits !== undefined && ownsNetwork) {
    return {
      message: 'a container with CAP_NET_ADMIN could lift the limit of what it sends',
      field: 'template.limits.networkEgressBits',
      hint: 'limit ingress only, or leave the capability out',
    };
  }
  if (storageBytes !== undefined && (privileged || container.userns === 'host')) {
    return {
      message: 'a container without a user namespace of its own could take its files out of the quota',
      field: 'template.limits.storageBytes',
      hint: `leave out --storage-opt, or ${privileged ? '--privileged' : '--userns host'}`,
    };
  }
  return undefined;
}

function storageFlaw(bytes: number | undefined): Flaw | undefined {
  if (bytes === undefined || bytes === 0) return undefined;
  if (Number.isSafeInteger(bytes) && bytes >= STORAGE_MIN_BYTES && bytes <= STORAGE_MAX_BYTES) return undefined;
  const field = 'template.limits.storageBytes';
  return { message: `${bytes} bytes of storage are out of range`, field, hint: 'give at least 1m, or 0 for no limit' };
}

function rateFlaw(bits: number | undefined, field: string): Flaw | undefined {
  if (bits === undefined || bits === 0) return undefined;
  if (Number.isSafeInteger(bits) && bits >= RATE_MIN_BITS && bits <= RATE_MAX_BITS) return undefined;
  return { message: `${bits} bits a second are out of range`, field, hint: 'give at least 8kbit, or 0 for no limit' };
}
