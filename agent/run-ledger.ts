/** The runs of one task on this node: what was reported, and the one that its container is for. */
import type { Instant } from '../common/model/ids.ts';
import type { Run } from '../common/model/task.ts';
import type { Exit } from './runtime/runtime.ts';
import { type Adoption, endOf } from './task-status.ts';

export class RunLedger {
  #runs: readonly Run[];
  #number: number;
  #madeFor: number;

  /** @param known  as last reported; oldest first */
  constructor(known: readonly Run[]) {
    this.#runs = known;
    this.#number = known.at(-1)?.number ?? 1;
    this.#madeFor = this.#number;
  }

  /** Oldest first. */
  get all(): readonly Run[] {
    return this.#runs;
  }

  /** The current one's, from 1. */
  get number(): number {
    return this.#number;
  }

  /** The run that the container was made for; its shim may have run it again since. */
  get madeFor(): number {
    return this.#madeFor;
  }

  adopt({ madeFor, run, runs }: Adoption): void {
    this.#madeFor = madeFor;
    this.#number = run;
    this.#runs = runs;
  }

  begin(startedAt: Instant): void {
    this.#runs = [...this.#runs, { number: this.#number, startedAt }];
  }

  /** Of no effect on one that has not begun or has ended. */
  end(exit: Exit): void {
    const last = this.#runs.at(-1);
    if (last === undefined || last.number !== this.#number || last.endedAt !== undefined) return;
    this.#runs = [...this.#runs.slice(0, -1), endOf(last, exit)];
  }

  /** What comes next is another run, in a container of its own. */
  next(): void {
    this.#number += 1;
    this.#madeFor = this.#number;
  }
}
