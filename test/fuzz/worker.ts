/**
 * Fuzzes one target in a thread of its own, so that an input that never ends can be told. Comes in: `Job`. Goes out: `Told`.
 * Which input is being read stands in shared memory, for the watchdog of run.ts.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Coverage } from './coverage.ts';
import { mutated } from './mutate.ts';
import { Random } from './random.ts';
import type { Target } from './target.ts';
import { TARGETS } from './targets.ts';

export interface Job {
  readonly target: string;
  readonly seed: number;
  readonly inputs: number;
  readonly untilMs: number;
  readonly corpus: readonly Uint8Array[];
  /** [0] counts the inputs begun, [1] is the length of the present one, whose bytes `input` holds. */
  readonly state: Int32Array<SharedArrayBuffer>;
  readonly input: Uint8Array<SharedArrayBuffer>;
}

export type Told =
  | { readonly kind: 'new'; readonly bytes: Uint8Array }
  | { readonly kind: 'end'; readonly inputs: number; readonly blocks: number }
  | { readonly kind: 'finding'; readonly bytes: Uint8Array; readonly what: string };

/** Asking for coverage costs as much as some dozen inputs. */
const BATCH = 64;
/** Inputs kept to go on from; the oldest go. */
const CORPUS_MAX = 2_000;

class Fuzzer {
  readonly #job: Job;
  readonly #target: Target;
  readonly #random: Random;
  readonly #coverage = new Coverage(/\/(?:common|agent|manager)\/.*\.ts/);
  readonly #corpus: Buffer[] = [];
  #inputs = 0;

  constructor(job: Job, target: Target) {
    this.#job = job;
    this.#target = target;
    this.#random = new Random(job.seed);
  }

  async run(): Promise<Told> {
    const given = [...this.#target.seeds(), ...this.#job.corpus.map((each) => Buffer.from(each))];
    for (const bytes of given) {
      const finding = await this.#read(bytes);
      if (finding !== undefined) return finding;
      if (this.#coverage.fresh().size > 0 || this.#corpus.length === 0) this.#keep(bytes, false);
    }
    while (this.#inputs < this.#job.inputs && Date.now() < this.#job.untilMs) {
      const finding = await this.#batch();
      if (finding !== undefined) return finding;
    }
    this.#coverage.close();
    return { kind: 'end', inputs: this.#inputs, blocks: this.#coverage.size };
  }

  async #batch(): Promise<Told | undefined> {
    const batch = Array.from({ length: Math.min(BATCH, this.#job.inputs - this.#inputs) }, () => this.#made());
    for (const bytes of batch) {
      const finding = await this.#read(bytes);
      if (finding !== undefined) return finding;
    }
    const fresh = this.#coverage.fresh();
    // Which of them it was, each tells once more by itself.
    for (const bytes of fresh.size === 0 ? [] : batch) {
      const finding = await this.#read(bytes);
      if (finding !== undefined) return finding;
      const hit = [...this.#coverage.ran()].filter((block) => fresh.delete(block));
      if (hit.length > 0) this.#keep(bytes, true);
      if (fresh.size === 0) break;
    }
    return undefined;
  }

  #made(): Buffer {
    const recent = this.#random.once(2) ? this.#corpus.slice(-32) : this.#corpus;
    return mutated(this.#target, this.#random.pick(recent), this.#random.pick(this.#corpus), this.#random);
  }

  #keep(bytes: Buffer, isNew: boolean): void {
    this.#corpus.push(bytes);
    if (this.#corpus.length > CORPUS_MAX) this.#corpus.shift();
    if (isNew) tell({ kind: 'new', bytes });
  }

  async #read(bytes: Buffer): Promise<Told | undefined> {
    const { state, input } = this.#job;
    input.set(bytes.subarray(0, input.length));
    Atomics.store(state, 1, bytes.length);
    Atomics.add(state, 0, 1);
    this.#inputs += 1;
    try {
      await this.#target.run(Buffer.from(bytes));
      return undefined;
    } catch (cause) {
      const what = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      return { kind: 'finding', bytes, what };
    }
  }
}

function tell(told: Told): void {
  parentPort?.postMessage(told);
}

const job = workerData as Job;
const target = TARGETS.find(({ name }) => name === job.target);
if (target !== undefined) tell(await new Fuzzer(job, target).run());
