/**
 * What a bench measured, and how it is told: a row for people, entries for scripts. Comes in: every single sample.
 * Goes out: median, extremes, ratios to what was measured beside it. It judges nothing by time; `met` only informs.
 */

/** Something of somebody else's that the figure is held against. */
export interface Peer {
  readonly name: string;
  readonly figure: number;
  /** False for a figure from elsewhere: another run on another machine of this kind, or a publication. */
  readonly isMeasured: boolean;
  /** The ratio (figure through the peer's) that we aim at. */
  readonly aim?: Aim;
}

export type Aim = { readonly kind: 'at most' | 'at least'; readonly value: number };

export interface Figure {
  readonly name: string;
  readonly unit: 'ms' | '% of a core' | 'KiB' | 'MiB' | 'tasks/s' | 'starts/s' | 'MiB/s';
  /** In order of time. Empty when nothing could be measured; then there is a fault. */
  readonly samples: readonly number[];
  readonly aim?: Aim;
  readonly peers?: readonly Peer[];
  /** What was not as it must be in the very runs that were timed; empty: all correct. */
  readonly faults: readonly string[];
}

export interface Report {
  readonly figures: readonly Figure[];
  /** Said beneath the table, a line each: what could not be measured and why. */
  readonly notes: readonly string[];
}

/** One entry of `--json`: a figure, once for each of its peers. `null` where there is nothing to say. */
export interface Entry {
  readonly name: string;
  readonly unit: string;
  readonly figure: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
  readonly peer: string | null;
  readonly peerFigure: number | null;
  readonly peerMeasured: boolean | null;
  readonly ratio: number | null;
  /** Of the ratio when there is a peer with an aim, else of the figure. */
  readonly target: string | null;
  readonly met: boolean | null;
  readonly correct: boolean;
  /** Cores that processes other than ours used meanwhile. */
  readonly foreignCpu: number;
}

/** The middle sample, or the mean of the two in the middle. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}

/** The entries of one figure: one for each peer, or one alone. */
export function entries(bench: string, figure: Figure, foreignCpu: number): readonly Entry[] {
  const middle = median(figure.samples);
  const base = {
    name: `${bench}: ${figure.name}`,
    unit: figure.unit,
    figure: rounded(middle),
    min: rounded(Math.min(...figure.samples)),
    max: rounded(Math.max(...figure.samples)),
    n: figure.samples.length,
    correct: figure.faults.length === 0,
    foreignCpu: rounded(foreignCpu),
  };
  const own = figure.aim;
  if (figure.peers === undefined || figure.peers.length === 0) {
    const nobody = { peer: null, peerFigure: null, peerMeasured: null, ratio: null };
    return [{ ...base, ...nobody, ...judged(own, middle, '') }];
  }
  return figure.peers.map((peer) => {
    const ratio = middle / peer.figure;
    const verdict = peer.aim === undefined ? judged(own, middle, '') : judged(peer.aim, ratio, 'x');
    const other = { peer: peer.name, peerFigure: rounded(peer.figure), peerMeasured: peer.isMeasured };
    return { ...base, ...other, ratio: rounded(ratio), ...verdict };
  });
}

function judged(aim: Aim | undefined, value: number, unit: string): Pick<Entry, 'target' | 'met'> {
  if (aim === undefined) return { target: null, met: null };
  return { target: `${aim.kind} ${aim.value}${unit}`, met: isMet(aim, value) };
}

function isMet(aim: Aim, value: number): boolean {
  switch (aim.kind) {
    case 'at most':
      return value <= aim.value;
    case 'at least':
      return value >= aim.value;
  }
}

const NAME_WIDTH = 42;
const NUMBER_WIDTH = 9;

/** The table's head. */
export function head(): string {
  const numbers = ['median', 'min', 'max'].map((word) => word.padStart(NUMBER_WIDTH)).join('');
  return `  ${''.padEnd(NAME_WIDTH)}${numbers}     n  unit`;
}

/** A figure as lines: its row, then one for each peer. */
export function lines(figure: Figure): readonly string[] {
  if (figure.samples.length === 0) return [`  ${figure.name.padEnd(NAME_WIDTH)}nothing measured   NOT CORRECT`];
  const middle = median(figure.samples);
  const numbers = [middle, Math.min(...figure.samples), Math.max(...figure.samples)]
    .map((value) => shown(value).padStart(NUMBER_WIDTH))
    .join('');
  const row = `  ${figure.name.padEnd(NAME_WIDTH)}${numbers}${String(figure.samples.length).padStart(6)}  ${figure.unit}`;
  const aim = figure.aim === undefined ? '' : `   (aim: ${aimed(figure.aim, middle, '')})`;
  const peers = (figure.peers ?? []).map((peer) => {
    const ratio = middle / peer.figure;
    const source = peer.isMeasured ? '' : ', not measured in this run';
    const wish = peer.aim === undefined ? '' : `   (aim: ${aimed(peer.aim, ratio, 'x')})`;
    return `    ${ratio.toFixed(2)}x ${peer.name} (${shown(peer.figure)} ${figure.unit}${source})${wish}`;
  });
  const verdict = figure.faults.length === 0 ? '' : '   NOT CORRECT';
  return [`${row}${aim}${verdict}`, ...peers];
}

function aimed(aim: Aim, value: number, unit: string): string {
  return `${aim.kind} ${aim.value}${unit}, ${isMet(aim, value) ? 'met' : 'not met'}`;
}

/** Three figures that mean something, and no more. */
function shown(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

/** JSON knows no NaN: what is not a number becomes null there. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
