/**
 * Containers of all kinds whose agent is killed again and again, at random moments and for once kept away. Everything random
 * follows from the seed but the order in which the kernel gets things done.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { readLog } from '../../agent/logs/reader.ts';
import type { Container } from '../../agent/runtime/runtime.ts';
import { systemClock } from '../../common/clock.ts';
import { native } from '../../native/index.ts';
import type { Dice } from '../sim/dice.ts';
import type { NativeWorld } from './native-world.ts';
import { type Charge, numbersOf, type Role, SurvivalJudge } from './survival-judge.ts';
import type { SurvivorWord } from './survivor-agent.ts';
import { until } from './until.ts';

export interface SurvivalTrial {
  /** Where survivor-agent.ts lies: who is bundled for a virtual machine knows it by the way from itself only. */
  readonly agent: string;
  readonly containers: number;
  readonly kills: number;
  /** Of all writers together. */
  readonly linesPerSecond: number;
  /** The longest that an agent lives. */
  readonly lifeMs: number;
  /** Once, in the middle. */
  readonly absentMs: number;
  readonly tell: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface SurvivalOutcome {
  readonly faults: readonly string[];
  readonly lines: number;
  readonly linesPerSecond: number;
  /** Lines that were followed while they were written. */
  readonly followed: number;
  readonly exits: number;
  readonly exitsUnattended: number;
  /** Runs that shims began in place. */
  readonly rises: number;
  /** Containers of their own that agents made, watched and removed. */
  readonly lived: number;
  readonly agents: number;
  readonly shimPssKib: Readonly<
    Record<'writer' | 'phoenix' | 'idler', { readonly mean: number; readonly max: number }>
  >;
}

type Child = ChildProcessByStdio<Writable, Readable, null>;

const { SIGTERM } = constants.signals;
/** For whatever must come true at once on an idle machine. */
const PATIENCE_MS = 120_000;
/** An exit before that is a quick death, after which a shim waits; agent/runs.ts has the constant. */
const STEADY_MS = 10_000;
const RUNS_MAX = 20;
const ROLES: readonly Role[] = ['writer', 'mortal', 'writer', 'phoenix', 'writer', 'mortal', 'writer', 'idler'];
const FOLLOWED = 4;
/** In the id of each container, and of nothing else on the machine. */
export const SURVIVAL_MARK = `-survival-${process.pid}`;
const OPTIONS = { 'max-size': '128k', 'max-file': '100', compress: 'true' };

export class SurvivalConduct {
  readonly #world: NativeWorld;
  readonly #trial: SurvivalTrial;
  readonly #dice: Dice;
  readonly #charges: readonly Charge[];
  readonly #judge: SurvivalJudge;
  readonly #roseAt = new Map<string, number>();
  readonly #follows = new Map<string, Promise<void>>();
  readonly #requestsPath: string;
  #isOver = false;
  #followed = 0;
  #rises = 0;
  #lived = 0;
  #agents = 0;

  constructor(world: NativeWorld, trial: SurvivalTrial, dice: Dice) {
    this.#world = world;
    this.#trial = trial;
    this.#dice = dice;
    this.#charges = Array.from({ length: trial.containers }, (_, i) => this.#charge(i));
    this.#judge = new SurvivalJudge(this.#charges);
    this.#requestsPath = join(world.folder, 'requests.json');
    writeFileSync(this.#requestsPath, JSON.stringify(this.#charges.map(({ request }) => request)));
  }

  async run(): Promise<SurvivalOutcome> {
    const { kills, lifeMs, absentMs, tell, signal } = this.#trial;
    const started = Date.now();
    for (let kill = 1; kill <= kills; kill += 1) {
      const isEarly = this.#dice.chance(0.3);
      await this.#withAgent((agent) =>
        kill === 1 ? agent.complete : systemClock.sleep(this.#dice.between(0, isEarly ? lifeMs / 4 : lifeMs), signal),
      );
      if (kill === Math.ceil(kills / 2) && absentMs > 0) await this.#keepAway(absentMs);
      else if (this.#dice.chance(0.5)) await this.#raiseOne();
      if (kill % 10 === 0) tell(`${kill} kills after ${Math.round((Date.now() - started) / 1_000)} s`);
    }
    await this.#withAgent((agent) => agent.complete);
    return this.#end();
  }

  /** An agent that is killed once `life` has resolved. A child of it may go on holding all that it held for a moment. */
  async #withAgent(life: (agent: { readonly complete: Promise<unknown> }) => Promise<unknown>): Promise<void> {
    this.#agents += 1;
    const state = join(this.#world.folder, 'state');
    const args = ['--import', 'tsx', this.#trial.agent, state, this.#world.cgroupParent, this.#requestsPath];
    const child: Child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    let isComplete = false;
    createInterface(child.stdout).on('line', (line) => {
      isComplete = this.#heard(JSON.parse(line) as SurvivorWord) || isComplete;
    });
    const complete = until('an agent has everything in place', PATIENCE_MS, () => isComplete);
    // Only some wait for it.
    complete.catch(() => undefined);
    try {
      await Promise.race([
        life({ complete }),
        exited.then(([code]) => Promise.reject(new Error(`an agent ended by itself with ${code}`))),
      ]);
    } finally {
      child.kill('SIGKILL');
      isComplete = true;
      await exited;
      // One that died before it had looked has ended no gap.
      if (this.#judge.gaps.at(-1)?.to !== Number.POSITIVE_INFINITY) {
        this.#judge.gaps.push({ from: Date.now(), to: Number.POSITIVE_INFINITY });
      }
    }
  }

  /** True when the agent is complete. */
  #heard(word: SurvivorWord): boolean {
    if (word.kind === 'lived') this.#lived += 1;
    if (word.kind === 'lived') return false;
    const gap = this.#judge.gaps.at(-1);
    if (word.kind === 'found' && gap?.to === Number.POSITIVE_INFINITY) {
      this.#judge.gaps[this.#judge.gaps.length - 1] = { ...gap, to: Date.now() };
    }
    this.#judge.found(word.containers.filter(({ id }) => !id.startsWith('own-')));
    if (word.kind === 'complete') this.#follow(word.containers);
    return word.kind === 'complete';
  }

  async #keepAway(ms: number): Promise<void> {
    this.#trial.tell(`no agent for ${ms / 1_000} s`);
    const end = Date.now() + ms;
    while (Date.now() < end) {
      await systemClock.sleep(Math.min(this.#dice.between(1_000, 8_000), end - Date.now() + 1), this.#trial.signal);
      if (Date.now() < end - STEADY_MS) await this.#raiseOne();
    }
  }

  /** Ends a phoenix and waits until its shim has run it again. */
  async #raiseOne(): Promise<void> {
    const now = Date.now();
    const ripe = this.#charges.filter(({ role, request: { id } }) => {
      const since = this.#roseAt.get(id);
      return role === 'phoenix' && since !== undefined && now - since > STEADY_MS && this.#judge.runOf(id) < RUNS_MAX;
    });
    const phoenix = this.#dice.pickAny(ripe);
    if (phoenix === undefined) return;
    const { id } = phoenix.request;
    const { pid, startTime } = this.#stateOf(id);
    this.#judge.rises(id);
    this.#rises += 1;
    native().signal(pid, startTime, SIGTERM);
    const wanted = this.#judge.runOf(id);
    await until(`${id} is run again`, PATIENCE_MS, () => this.#stateOf(id).run === wanted).catch((cause: unknown) => {
      const isThere = native().processAlive(pid, startTime) ? 'has not ended' : 'has ended';
      const names = readdirSync(join(this.#world.folder, 'state', id)).join(' ');
      throw new Error(
        `${id}: its process ${pid} ${isThere}; run ${wanted} is not that of ${JSON.stringify(this.#stateOf(id))}; ${names}`,
        { cause },
      );
    });
    await until(`${id} is ready again`, PATIENCE_MS, () =>
      native().processAlive(this.#stateOf(id).pid, this.#stateOf(id).startTime),
    );
    this.#roseAt.set(id, Date.now());
  }

  #stateOf(id: string): {
    readonly pid: number;
    readonly startTime: number;
    readonly run: number;
    readonly shimPid: number;
  } {
    return JSON.parse(readFileSync(join(this.#world.folder, 'state', id, 'state.json'), 'utf8'));
  }

  /** Reads some of the logs while they are written. */
  #follow(containers: readonly Container[]): void {
    for (const { id, logPath } of containers) {
      const role = this.#charges.find(({ request }) => request.id === id)?.role;
      if (role === 'phoenix' && !this.#roseAt.has(id)) this.#roseAt.set(id, Date.now());
      if (role !== 'writer' || this.#follows.has(id) || this.#follows.size >= FOLLOWED) continue;
      const question = { path: logPath, tail: -1, since: 0, isGrowing: () => !this.#isOver, clock: systemClock };
      const followed = numbersOf(readLog(question, this.#trial.signal)).then((numbers) => {
        this.#judge.numbers(id, 'followed log', numbers);
        this.#followed += numbers.lines;
      });
      followed.catch(() => undefined);
      this.#follows.set(id, followed);
    }
  }

  /** Takes all over, ends it, reads the logs. */
  async #end(): Promise<SurvivalOutcome> {
    const { runtime } = this.#world;
    const { signal, tell } = this.#trial;
    const containers = await runtime.list(signal);
    this.#judge.found(containers.filter(({ id }) => !id.startsWith('own-')));
    const shimPssKib = this.#shimPss(containers);
    let [lines, seconds] = [0, 0];
    tell('reading the logs');
    for (const container of containers) {
      const role = this.#charges.find(({ request }) => request.id === container.id)?.role;
      if (role === 'mortal') await this.#awaitMortal(container);
      if (role === undefined || role === 'mortal') continue;
      const exit = await runtime.stop(container.id, { stopSignal: '', graceMs: PATIENCE_MS }, signal);
      if (exit.code !== 0) this.#judge.faults.add(`${container.id}, a ${role}, ended with ${JSON.stringify(exit)}`);
      if (role !== 'writer') continue;
      lines += await this.#judge.readWriter(container);
      seconds = Math.max(seconds, (exit.finishedAt - exit.startedAt) / 1_000);
    }
    this.#isOver = true;
    let isRead = false;
    const all = Promise.all(this.#follows.values()).finally(() => {
      isRead = true;
    });
    // A reader that waits keeps no process alive.
    await until('the logs are read to their ends', PATIENCE_MS, () => isRead);
    await all;
    for (const { id } of await runtime.list(signal)) await runtime.remove(id);
    return {
      faults: [...this.#judge.faults],
      lines,
      linesPerSecond: Math.round(lines / seconds),
      followed: this.#followed,
      exits: this.#judge.exits.size,
      exitsUnattended: this.#judge.exitsUnattended,
      rises: this.#rises,
      lived: this.#lived,
      agents: this.#agents,
      shimPssKib,
    };
  }

  async #awaitMortal({ id }: Container): Promise<void> {
    await this.#world.runtime.wait(id, this.#trial.signal);
    for (const each of await this.#world.runtime.list(this.#trial.signal)) if (each.id === id) this.#judge.check(each);
  }

  #shimPss(containers: readonly Container[]): SurvivalOutcome['shimPssKib'] {
    const of = (role: Role): { readonly mean: number; readonly max: number } => {
      const all = containers.filter(({ id }) => id.startsWith(role)).map(({ id }) => pssKib(this.#stateOf(id).shimPid));
      return { mean: Math.round(all.reduce((sum, kib) => sum + kib, 0) / all.length), max: Math.max(...all) };
    };
    return { writer: of('writer'), phoenix: of('phoenix'), idler: of('idler') };
  }

  #charge(i: number): Charge {
    const { containers, linesPerSecond, kills, lifeMs, absentMs } = this.#trial;
    const role = ROLES[i % ROLES.length] as Role;
    const writers = Math.ceil((containers * ROLES.filter((each) => each === 'writer').length) / ROLES.length);
    // An agent's start takes about a second; on the whole mortals end before the trial does.
    const horizonMs = kills * (lifeMs / 2 + 1_000) + absentMs;
    const code = this.#dice.between(1, 125);
    const args: Record<Role, readonly string[]> = {
      writer: ['paced', '-1', String(Math.round(linesPerSecond / writers))],
      mortal: ['after', String(this.#dice.between(500, Math.round(horizonMs * 0.9))), String(code)],
      phoenix: ['sleep'],
      idler: ['sleep'],
    };
    const isRing = this.#dice.chance(0.2);
    const log = {
      driver: this.#dice.pick(['local', 'json-file']),
      options: { ...OPTIONS, ...(isRing ? { mode: 'non-blocking', 'max-buffer-size': '1m' } : {}) },
    };
    const base = { ...this.#world.request(args[role], { template: { log } }), id: `${role}-${i}${SURVIVAL_MARK}` };
    const restart = { condition: 'any', delayMs: 0, maxAttempts: 0, windowMs: 0, used: 0, holdMs: 0 } as const;
    return { role, code, request: role === 'phoenix' ? { ...base, restart } : base };
  }
}

function pssKib(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
}
