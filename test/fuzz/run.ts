/** Runs a fuzz target under a watchdog. Comes in: which, for how long, from what seed. Goes out: what was found, and what is worth keeping. */
import { once } from 'node:events';
import { setInterval } from 'node:timers';
import { Worker } from 'node:worker_threads';
import type { Job, Told } from './worker.ts';

export interface Bounds {
  readonly seed: number;
  readonly inputs: number;
  readonly seconds: number;
}

export interface Outcome {
  readonly inputs: number;
  /** Pieces of code reached. */
  readonly blocks: number;
  readonly finding?: { readonly what: string; readonly bytes: Uint8Array };
  /** Inputs that reached new code. */
  readonly fresh: readonly Uint8Array[];
}

const INPUT_BYTES_MAX = 1024 * 1024;
const LOOK_EVERY_MS = 500;
/** One input that takes longer is a finding: an agent or a manager waits for it. */
const STANDS_STILL_MS = 10_000;
/** The thread's own heap and its buffers; a corpus and the compiled sources take some 300 MiB. */
const MEMORY_MIB_MAX = 1_024;

/** @param corpus  inputs to begin with, beside the target's own */
export async function fuzz(target: string, corpus: readonly Uint8Array[], bounds: Bounds): Promise<Outcome> {
  const state = new Int32Array(new SharedArrayBuffer(8));
  const input = new Uint8Array(new SharedArrayBuffer(INPUT_BYTES_MAX));
  const { seed, inputs, seconds } = bounds;
  const job: Job = { target, seed, inputs, untilMs: Date.now() + seconds * 1_000, corpus, state, input };
  const worker = new Worker(new URL('./thread.mjs', import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MIB_MAX },
  });
  const present = (): Uint8Array => Uint8Array.from(input.subarray(0, Atomics.load(state, 1)));
  const fresh: Uint8Array[] = [];
  let end: Omit<Outcome, 'fresh'> | undefined;
  const found = (what: string, bytes: Uint8Array): void => {
    end ??= { inputs: Atomics.load(state, 0), blocks: 0, finding: { what, bytes } };
    void worker.terminate();
  };
  worker.on('message', (told: Told) => {
    if (told.kind === 'new') fresh.push(told.bytes);
    if (told.kind === 'end') end ??= { inputs: told.inputs, blocks: told.blocks };
    if (told.kind === 'finding') found(told.what, told.bytes);
  });
  worker.on('error', (cause) => found(`the thread ended: ${cause.stack ?? cause.message}`, present()));
  const dog = watch(state, (what) => found(what, present()));
  await once(worker, 'exit').finally(() => clearInterval(dog));
  return {
    ...(end ?? { inputs: 0, blocks: 0, finding: { what: 'the thread ended without a word', bytes: present() } }),
    fresh,
  };
}

function watch(state: Int32Array, found: (what: string) => void): NodeJS.Timeout {
  let last = { inputs: -1, at: Date.now() };
  return setInterval(() => {
    const begun = Atomics.load(state, 0);
    if (begun !== last.inputs) last = { inputs: begun, at: Date.now() };
    else if (begun > 0 && Date.now() - last.at > STANDS_STILL_MS)
      found(`an input takes more than ${STANDS_STILL_MS / 1_000} s`);
    const mib = process.memoryUsage().rss / 2 ** 20;
    if (mib > MEMORY_MIB_MAX) found(`the process has ${mib.toFixed(0)} MiB, more than ${MEMORY_MIB_MAX}`);
  }, LOOK_EVERY_MS);
}
