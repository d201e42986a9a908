/**
 * What the parts of `npm run bench:image` share: each part is a bench of its own, `image-NAME` in main.ts, whose contenders do
 * the same work in turns on a disk of their own (own-disk.ts), so that other load strikes all of them alike: read the ratios.
 */
import { execFileSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { type Figure, median } from './figure.ts';
import { untilAtRest } from './processes.ts';

const MIB = 2 ** 20;

/** Who does the work: once, from its beginning to its end, and then away with what it made. */
export interface Contender {
  readonly name: string;
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Untimed; also what proves that `run` did what it should: a fault in words for each way in which it did not. */
  readonly after: (signal: AbortSignal) => Promise<readonly string[]>;
}

export interface Race {
  /** What is done, as it stands in the table. */
  readonly name: string;
  /** Bytes that one run moves. */
  readonly bytes: number;
  readonly rounds: number;
  readonly ours: Contender;
  /** `aim`: our throughput through theirs, at least. */
  readonly peers: readonly (Contender & { readonly aim?: number })[];
}

/** Ours first, then each peer, round by round; what one leaves to be written is on the disk before the next begins. */
export async function race(
  { name, bytes, rounds, ours, peers }: Race,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  const rates = new Map<Contender, number[]>([ours, ...peers].map((each) => [each, []]));
  const faults = new Map<Contender, string[]>([ours, ...peers].map((each) => [each, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of rates.keys()) {
      signal.throwIfAborted();
      execFileSync('sync');
      await untilAtRest();
      const from = performance.now();
      await contender.run(signal);
      const seconds = (performance.now() - from) / 1_000;
      rates.get(contender)?.push(bytes / MIB / seconds);
      faults.get(contender)?.push(...(await contender.after(signal)));
    }
  }
  const figureOf = (each: Contender): Figure => ({
    name: `${each.name}: ${name}`,
    unit: 'MiB/s',
    samples: rates.get(each) ?? [],
    faults: faults.get(each) ?? [],
  });
  const against = peers.map((peer) => ({
    name: peer.name,
    figure: median(rates.get(peer) ?? []),
    isMeasured: true,
    ...(peer.aim === undefined ? {} : { aim: { kind: 'at least', value: peer.aim } as const }),
  }));
  return [{ ...figureOf(ours), peers: against }, ...peers.map(figureOf)];
}
