/** What a fuzz target is. */
import { ClusterError } from '../../common/errors.ts';
import type { Random } from './random.ts';

export interface Target {
  readonly name: string;
  /** Sound inputs to begin with. */
  readonly seeds: () => readonly Buffer[];
  /** What the parser looks for, put in here and there. */
  readonly words: readonly string[];
  /** Longer inputs are cut. */
  readonly bytesMax: number;
  /** Changes an input by what it means; half of all inputs come from here. */
  readonly reshape?: (bytes: Buffer, random: Random) => Buffer;
  /** Makes a changed input pass the first checks again, such as a checksum, so that more than those is reached. */
  readonly mend?: (bytes: Buffer, random: Random) => Buffer;
  /** Reads one input; throws for a finding. */
  readonly run: (bytes: Buffer) => void | Promise<void>;
}

/** A parser may refuse by an `invalid`; anything else that it throws is a finding. */
export async function refusing(parse: () => unknown): Promise<void> {
  try {
    await parse();
  } catch (error) {
    if (!(error instanceof ClusterError) || error.code !== 'invalid') throw error;
  }
}
