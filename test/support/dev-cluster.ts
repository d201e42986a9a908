/** A real cluster for an end-to-end test, through the same door that users have: deploy/dev/cluster and the CLI. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildDemoImages } from '../../deploy/dev/images.ts';
import type { Status } from '../../deploy/dev/status.ts';
import { Screen } from './screen.ts';
import { PATIENCE, until } from './until.ts';

const DOOR = 'deploy/dev/cluster';
const CLI = 'dist/cli/main.js';
const COMMAND_MS = 240_000 * PATIENCE;

/** What a command said, and how it ended. */
export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command to its end. */
export function say(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  input = '',
): Promise<Said> {
  const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'], timeout: COMMAND_MS });
  // A program that reads nothing may be gone before.
  child.stdin.on('error', () => undefined).end(input);
  let out = '';
  let err = '';
  child.stdout.on('data', (text) => {
    out += text;
  });
  child.stderr.on('data', (text) => {
    err += text;
  });
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => done({ code: code ?? 128, out, err }));
  });
}

export interface TaskRow {
  readonly ID: string;
  readonly Name: string;
  readonly Image: string;
  readonly Node: string;
  readonly DesiredState: string;
  readonly CurrentState: string;
  readonly Error: string;
  readonly Pid: string;
  readonly ExitCode: string;
}

/** One running cluster; `clean` removes every trace of it. */
export class DevCluster {
  readonly dir: string;
  #context = '';

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async up(...flags: readonly string[]): Promise<DevCluster> {
    const cluster = new DevCluster(mkdtempSync(join(tmpdir(), 'cv-')));
    try {
      await cluster.start(...flags);
    } catch (cause) {
      const logs = await cluster.logs();
      await cluster.clean();
      throw new Error(`${String(cause)}\n${logs}`, { cause });
    }
    return cluster;
  }

  /** `up` on the same directory: adopts what is there. */
  async start(...flags: readonly string[]): Promise<void> {
    await this.door('up', '--detach', ...flags);
    this.#context = (await this.status()).context;
  }

  /** A verb of deploy/dev/cluster. @throws when it does not end with 0 */
  async door(...args: readonly string[]): Promise<string> {
    const split = args.indexOf('--');
    const own =
      split < 0 ? [...args, '--dir', this.dir] : [...args.slice(0, split), '--dir', this.dir, ...args.slice(split)];
    const said = await say(DOOR, own);
    if (said.code !== 0) throw new Error(`cluster ${args.join(' ')} ended with ${said.code}: ${said.err}`);
    return said.out;
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.door('status', '--format', 'json')) as Status;
  }

  /** The CLI; its exit code is the test's to judge. */
  covey(...args: readonly string[]): Promise<Said> {
    return say(CLI, args, this.#env());
  }

  /** The CLI while it runs, on pipes. */
  spawn(...args: readonly string[]): ChildProcess {
    return spawn(CLI, args, { env: this.#env(), stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** The CLI with something to read on standard input. */
  coveyWith(input: string, ...args: readonly string[]): Promise<Said> {
    return say(CLI, args, this.#env(), input);
  }

  /** The CLI on a terminal of its own. */
  onTerminal(rows: number, columns: number, ...args: readonly string[]): Screen {
    return new Screen({ rows, columns }, [CLI, ...args], this.#env());
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, COVEY_CONTEXT: this.#context };
  }

  /** The CLI, which must end with 0. */
  async must(...args: readonly string[]): Promise<string> {
    const said = await this.covey(...args);
    if (said.code === 0) return said.out;
    throw new Error(`covey ${args.join(' ')} ended with ${said.code}: ${said.out}${said.err}\n${await this.logs()}`);
  }

  async tasks(service: string): Promise<readonly TaskRow[]> {
    return rows<TaskRow>(await this.must('service', 'ps', '--format', 'json', service));
  }

  /** Tasks that run and are wanted. */
  async running(service: string): Promise<readonly TaskRow[]> {
    return (await this.tasks(service)).filter(
      (task) => task.DesiredState === 'Running' && task.CurrentState.startsWith('Running'),
    );
  }

  /** Loads a demo image other than web:1 and web:2. */
  async load(reference: string): Promise<void> {
    const image = (await buildDemoImages(join(this.dir, 'images'))).find((one) => one.reference === reference);
    await this.must('image', 'load', image?.path ?? reference);
  }

  async untilRunning(service: string, count: number, ms: number): Promise<readonly TaskRow[]> {
    return until(`${count} tasks of ${service} run`, ms, async () => {
      const running = await this.running(service);
      return running.length === count ? running : undefined;
    });
  }

  /** Container pids of running tasks by task id (12 characters). */
  async pids(service: string): Promise<ReadonlyMap<string, number>> {
    return new Map((await this.running(service)).map((task) => [task.ID, Number(task.Pid)]));
  }

  /** The ends of all logs, for a failure's message. */
  async logs(): Promise<string> {
    const { out } = await say('sh', ['-c', 'for f in "$0"/*.log; do echo "== $f"; tail -n 15 "$f"; done', this.dir]);
    return out;
  }

  async clean(): Promise<void> {
    await this.door('clean');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Objects of `--format json`, one a line. */
export function rows<T>(text: string): readonly T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

/** True while a process of that pid runs. */
export function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
