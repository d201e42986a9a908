/** Whether everything of a survival trial is as it must be: who lives with which pid, who has ended how, which lines are there. */
import { readLog } from '../../agent/logs/reader.ts';
import type { Container, CreateRequest, Exit } from '../../agent/runtime/runtime.ts';
import { systemClock } from '../../common/clock.ts';

/**
 * writer: numbered lines until it is stopped. mortal: ends by itself with a code of its own. phoenix: is run again when it
 * ends while no agent is there. idler: lives.
 */
export type Role = 'writer' | 'mortal' | 'phoenix' | 'idler';

export interface Charge {
  readonly role: Role;
  readonly request: CreateRequest;
  /** A mortal's. */
  readonly code: number;
}

/** From one agent's death to the next one's first look. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

/** The numbers a log holds, in order; `count` as its last line says, undefined without one. */
interface Numbers {
  readonly lines: number;
  readonly lost: number;
  readonly doubled: number;
  readonly strange: number;
  readonly count: number | undefined;
}

export class SurvivalJudge {
  /** What was wrong, in words; never the same twice. */
  readonly faults = new Set<string>();
  /** Of mortals. */
  readonly exits = new Map<string, Exit>();
  readonly gaps: Gap[] = [];
  readonly #charges: ReadonlyMap<string, Charge>;
  /** Who was seen running, by id. */
  readonly #lives = new Map<string, { readonly pid: number; readonly startTime: number; readonly run: number }>();
  /** Of phoenixes: the run that each must be in. */
  readonly #runs = new Map<string, number>();

  constructor(charges: readonly Charge[]) {
    this.#charges = new Map(charges.map((charge) => [charge.request.id, charge]));
  }

  /** A phoenix has ended while no agent was there. */
  rises(id: string): void {
    this.#runs.set(id, this.runOf(id) + 1);
  }

  runOf(id: string): number {
    return this.#runs.get(id) ?? 1;
  }

  /** What an agent has found: all that was ever seen, as it was. */
  found(containers: readonly Container[]): void {
    const ids = new Set(containers.map(({ id }) => id));
    for (const id of this.#lives.keys()) if (!ids.has(id)) this.faults.add(`${id} is not found any more`);
    for (const container of containers) this.check(container);
  }

  /** Exits that happened while no agent was there. */
  get exitsUnattended(): number {
    const isUnattended = (at: number): boolean => this.gaps.some(({ from, to }) => at >= from && at < to);
    return [...this.exits.values()].filter(({ finishedAt }) => isUnattended(finishedAt)).length;
  }

  /** Reads the whole log of one that has ended. Gives its lines. */
  async readWriter({ id, logPath }: Container): Promise<number> {
    const never = { tail: -1, since: 0, isGrowing: () => false, clock: systemClock };
    const numbers = await numbersOf(readLog({ path: logPath, ...never }, new AbortController().signal));
    this.numbers(id, 'log', numbers);
    return numbers.lines;
  }

  numbers(id: string, what: string, { lines, lost, doubled, strange, count }: Numbers): void {
    const isWhole = lost === 0 && doubled === 0 && strange === 0 && count === lines;
    if (!isWhole) {
      this.faults.add(
        `${id}: of ${count ?? 'an unknown number of'} lines its ${what} has ${lines}: ${lost} lost, ${doubled} doubled, ${strange} strange`,
      );
    }
  }

  /** One of them. */
  check(container: Container): void {
    const { id, state, exit } = container;
    const charge = this.#charges.get(id);
    if (charge === undefined) this.faults.add(`${id} was never asked for`);
    else if (exit !== undefined) this.#checkExit(charge, container, exit);
    // One that was only made is started by the next agent.
    else if (state === 'running') this.#checkLife(charge, container);
  }

  #checkExit({ role, code }: Charge, { id }: Container, exit: Exit): void {
    if (role !== 'mortal') this.faults.add(`${id}, a ${role}, has ended: ${JSON.stringify(exit)}`);
    else if (exit.code !== code) this.faults.add(`${id} ended with ${code}, told was ${JSON.stringify(exit)}`);
    const before = this.exits.get(id);
    if (before !== undefined && before.finishedAt !== exit.finishedAt) this.faults.add(`${id} has ended twice`);
    this.exits.set(id, exit);
  }

  #checkLife({ role }: Charge, { id, pid, startTime, run, pastRuns }: Container): void {
    if (this.exits.has(id)) this.faults.add(`${id} lives again`);
    if (run !== this.runOf(id)) this.faults.add(`${id}, a ${role}, is in run ${run} instead of ${this.runOf(id)}`);
    const told = pastRuns.map(({ number, exit }) => `${number}:${exit.code}`).join(' ');
    const expected = Array.from({ length: this.runOf(id) - 1 }, (_, i) => `${i + 1}:0`).join(' ');
    if (told !== expected) this.faults.add(`${id} had the runs ${expected}, told were ${told}`);
    const before = this.#lives.get(id);
    if (before?.run === run && (before.pid !== pid || before.startTime !== startTime)) {
      this.faults.add(`${id} was process ${before.pid} and is ${pid}`);
    }
    this.#lives.set(id, { pid, startTime, run });
  }
}

/** Reads `0`, `1`, `2`, … and at last `end COUNT`. */
export async function numbersOf(batches: AsyncIterable<readonly { readonly text: Uint8Array }[]>): Promise<Numbers> {
  let [next, lines, lost, doubled, strange] = [0, 0, 0, 0, 0];
  let count: number | undefined;
  for await (const batch of batches) {
    for (const entry of batch) {
      const text = Buffer.from(entry.text).toString('latin1');
      const end = /^end (\d+)$/.exec(text)?.[1];
      const number = Number(text);
      if (end !== undefined) {
        count = Number(end);
      } else if (!/^\d+$/.test(text)) {
        strange += 1;
      } else {
        lines += 1;
        if (number < next) doubled += 1;
        else lost += number - next;
        next = Math.max(next, number + 1);
      }
    }
  }
  return { lines, lost: lost + Math.max(0, (count ?? next) - next), doubled, strange, count };
}
