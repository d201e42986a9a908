/** Makes new inputs of old ones. */
import type { Random } from './random.ts';
import type { Target } from './target.ts';

const NUMBERS = [
  '0',
  '-1',
  '1',
  '512',
  '4096',
  '65536',
  '2147483648',
  '4294967296',
  '9007199254740993',
  '99999999999999999999',
  '1e9',
];
const CHANGES_MAX = 8;

type Change = (bytes: Buffer, random: Random, context: Context) => Buffer;

interface Context {
  readonly words: readonly string[];
  readonly other: Buffer;
}

const CHANGES: readonly Change[] = [
  (bytes, random) => {
    const changed = Buffer.from(bytes);
    const at = random.below(bytes.length);
    changed[at] = (changed[at] as number) ^ (1 << random.below(8));
    return changed;
  },
  (bytes, random) => {
    const changed = Buffer.from(bytes);
    changed[random.below(bytes.length)] = random.pick([0, 0x20, 0x2f, 0x2e, 0x0a, 0x7f, 0x80, 0xff, random.below(256)]);
    return changed;
  },
  (bytes, random) => put(bytes, random, Buffer.from(random.pick(NUMBERS)), random.once(2)),
  (bytes, random, { words }) => put(bytes, random, Buffer.from(random.pick(words), 'latin1'), random.once(2)),
  (bytes, random) => {
    const [from, to] = span(bytes, random);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  (bytes, random) => {
    const [from, to] = span(bytes, random);
    return put(bytes, random, bytes.subarray(from, to), false);
  },
  (bytes, random, { other }) => {
    const [from, to] = span(other, random);
    return put(bytes, random, other.subarray(from, to), random.once(2));
  },
  (bytes, random, { other }) =>
    Buffer.concat([bytes.subarray(0, random.below(bytes.length + 1)), other.subarray(random.below(other.length + 1))]),
];

/** A new input of `bytes` and sometimes of `other`. */
export function mutated(target: Target, bytes: Buffer, other: Buffer, random: Random): Buffer {
  let changed = bytes;
  if (target.reshape !== undefined && random.once(2)) changed = target.reshape(changed, random);
  const changes = random.below(CHANGES_MAX);
  for (let change = 0; change < changes; change += 1) {
    if (changed.length === 0) changed = Buffer.from([random.below(256)]);
    changed = random.pick(CHANGES)(changed, random, { words: target.words, other });
    if (changed.length > target.bytesMax) changed = changed.subarray(0, target.bytesMax);
  }
  return target.mend === undefined || random.once(10) ? changed : target.mend(changed, random);
}

function put(bytes: Buffer, random: Random, piece: Buffer, over: boolean): Buffer {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(over ? at + piece.length : at)]);
}

function span(bytes: Buffer, random: Random): readonly [from: number, to: number] {
  const from = random.below(bytes.length + 1);
  const size = random.pick([1, 8, 64, 512, 1_024]);
  return [from, Math.min(bytes.length, from + 1 + random.below(size))];
}
