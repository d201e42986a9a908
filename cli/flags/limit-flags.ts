/** Flags of limits that are absent from a spec unless somebody sets them. */
import { ClusterError } from '../../common/errors.ts';
import { parseBitRate, parseBytes } from '../../common/units.ts';
import type { Draft, ValueFlag } from './service-flags.ts';
import { wholeNumber } from './values.ts';

type Limits = Draft['template']['limits'];
type Optional = 'memorySwapBytes' | 'memorySwappiness' | 'networkEgressBits' | 'networkIngressBits' | 'storageBytes';

const DIRECTIONS = { egress: 'networkEgressBits', ingress: 'networkIngressBits' } as const;

export const LIMIT_FLAGS: readonly ValueFlag[] = [
  {
    flag: 'memory-swap',
    argument: '<bytes>',
    help: 'ceiling of memory and swap together; -1: no limit, 0: no swap',
    apply: (draft, text, flag) => {
      set(draft.template.limits, 'memorySwapBytes', text === '-1' ? -1 : parseBytes(text, flag), 0);
    },
  },
  {
    flag: 'memory-swappiness',
    argument: '<n>',
    help: "0 to 100, on cgroup v1; -1: the host's",
    apply: (draft, text, flag) => {
      set(draft.template.limits, 'memorySwappiness', text === '-1' ? -1 : wholeNumber(text, flag), -1);
    },
  },
  {
    flag: 'network-rate',
    argument: '<rate>',
    help: 'bits a second, such as 20mbit, or egress=5mbit,ingress=50mbit; 0: no limit',
    apply: (draft, text, flag) => {
      const { limits } = draft.template;
      for (const part of text.split(',')) setRate(limits, part, flag);
    },
  },
  {
    flag: 'storage-opt',
    argument: '<option>',
    help: 'size=BYTES: what a container may write into its root file system; 0: no limit',
    apply: (draft, text, flag) => {
      const size = /^size=(.*)$/.exec(text)?.[1];
      if (size === undefined) {
        throw new ClusterError('invalid', `"${text}" is no storage option`, { field: flag, hint: 'write size=10g' });
      }
      set(draft.template.limits, 'storageBytes', parseBytes(size, flag), 0);
    },
  },
];

function setRate(limits: Limits, part: string, flag: string): void {
  const [direction = '', rate] = part.split('=', 2);
  if (rate === undefined) {
    for (const key of Object.values(DIRECTIONS)) set(limits, key, rateIn(part, flag), 0);
    return;
  }
  if (direction !== 'egress' && direction !== 'ingress') {
    throw new ClusterError('invalid', `"${direction}" is no direction`, {
      field: flag,
      hint: 'write egress=RATE for what the container sends, ingress=RATE for what it gets',
    });
  }
  set(limits, DIRECTIONS[direction], rateIn(rate, flag), 0);
}

function rateIn(text: string, flag: string): number {
  return text === '0' ? 0 : parseBitRate(text, flag);
}

/** `none` takes the limit out of the spec: then it is as if nothing had ever been said. */
function set(limits: Limits, key: Optional, value: number, none: number): void {
  if (value === none) delete limits[key];
  else limits[key] = value;
}
