/** What /proc tells of processes: whose child, how much CPU, how much memory. A process that has gone is undefined. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

/** Of times in /proc. Source: proc(5), sysconf(_SC_CLK_TCK); 100 on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;
/** A machine rests when it uses so little in so long; two ticks may be our own looking. */
const REST_LOOK_MS = 100;
const REST_SECONDS = 0.02;
const REST_WITHIN_MS = 2_000;

interface Stat {
  readonly parent: number;
  /** Of the process itself, all its threads. */
  readonly ownSeconds: number;
  /** Of it and of all children that it has waited for. */
  readonly cpuSeconds: number;
  /** Seconds after the machine's start. */
  readonly startedAt: number;
}

/** Source: proc(5), /proc/[pid]/stat; the fields after the name, which is in brackets and may hold anything. */
function statOf(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const seconds = (number: number) => Number(fields[number - 3]) / TICKS_A_SECOND;
  const ownSeconds = seconds(14) + seconds(15);
  return {
    parent: Number(fields[4 - 3]),
    ownSeconds,
    cpuSeconds: ownSeconds + seconds(16) + seconds(17),
    startedAt: seconds(22),
  };
}

/** Seconds after the machine's start at which the process started, to a hundredth. */
export function startedAt(pid: number): number | undefined {
  return statOf(pid)?.startedAt;
}

/** Seconds since the machine's start, to a hundredth. */
export function uptime(): number {
  return Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
}

/** CPU seconds that the process itself has used; its children are not in it. */
export function cpuSecondsOf(pid: number): number | undefined {
  return statOf(pid)?.ownSeconds;
}

/** The same by the scheduler's own count, to the nanosecond: of threads that live. Source: kernel docs, sched-stats. */
export function exactCpuSecondsOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const spent = (thread: string) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return threads.reduce((sum, thread) => sum + spent(thread), 0) / 1e9;
}

/** These processes and all that descend from them. */
export function treeOf(roots: readonly number[]): readonly number[] {
  return [...treeStats(roots).keys()];
}

function treeStats(roots: readonly number[]): ReadonlyMap<number, Stat> {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    if (stat !== undefined) stats.set(Number(name), stat);
  }
  const children = new Map<number, number[]>();
  for (const [pid, { parent }] of stats) children.set(parent, [...(children.get(parent) ?? []), pid]);
  const tree = new Map<number, Stat>();
  const visit = (pid: number): void => {
    const stat = stats.get(pid);
    if (stat === undefined || tree.has(pid)) return;
    tree.set(pid, stat);
    for (const child of children.get(pid) ?? []) visit(child);
  };
  for (const root of roots) visit(root);
  return tree;
}

/** Resident memory in MiB. */
export function rssMib(pid: number): number | undefined {
  return kib(`/proc/${pid}/status`, /^VmRSS:\s+(\d+)/m, 1024);
}

/** Its share of memory in KiB: what it has in common with others is divided among them. */
export function pssKib(pid: number): number | undefined {
  return kib(`/proc/${pid}/smaps_rollup`, /^Pss:\s+(\d+)/m, 1);
}

function kib(path: string, line: RegExp, divisor: number): number | undefined {
  try {
    const found = line.exec(readFileSync(path, 'utf8'))?.[1];
    return found === undefined ? undefined : Number(found) / divisor;
  } catch {
    return undefined;
  }
}

/** The name that the kernel shows, at most 15 characters; empty when it has gone. */
export function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

/**
 * How much CPU others use while we measure. Ours are the trees of `roots`; work that the kernel does in threads of its
 * own, also for us, counts as others'.
 */
export class ForeignCpu {
  readonly #roots: () => readonly number[];
  #machine = 0;
  #own = 0;
  #at = 0;

  constructor(roots: () => readonly number[]) {
    this.#roots = roots;
    this.start();
  }

  start(): void {
    this.#machine = busySeconds();
    this.#own = this.#ownSeconds();
    this.#at = performance.now();
  }

  /** Cores used by others on average since `start`; what another virtual machine took from this one counts too. */
  cores(): number {
    const seconds = (performance.now() - this.#at) / 1_000;
    const foreign = busySeconds() - this.#machine - (this.#ownSeconds() - this.#own);
    // Ticks are sampled: an idle machine may come out slightly below nothing.
    return seconds > 0 ? Math.max(foreign / seconds, 0) : 0;
  }

  #ownSeconds(): number {
    return [...treeStats(this.#roots()).values()].reduce((sum, stat) => sum + stat.cpuSeconds, 0);
  }
}

/**
 * Waits until the machine rests: what has ended is taken apart by the kernel's own threads afterwards, and who comes next
 * would pay for it. On a machine that others keep busy it gives up after two seconds.
 */
export async function untilAtRest(): Promise<void> {
  for (const end = performance.now() + REST_WITHIN_MS; performance.now() < end; ) {
    const before = busySeconds();
    await wait(REST_LOOK_MS);
    if (busySeconds() - before <= REST_SECONDS) return;
  }
}

/** Source: proc(5), /proc/stat: user nice system idle iowait irq softirq steal; guests are in user already. */
function busySeconds(): number {
  const fields = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').trim().split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softirq + steal) / TICKS_A_SECOND;
}
