/** Real containers for tests: a state folder, an image with the test init, a cgroup parent; all of it gone afterwards. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type LogEntry, parseLogEntry } from '../../agent/runtime/log-line.ts';
import { NativeRuntime, type NativeRuntimeOptions } from '../../agent/runtime/native-runtime.ts';
import type { Container, CreateRequest, Exit } from '../../agent/runtime/runtime.ts';
import { type Clock, systemClock } from '../../common/clock.ts';
import type { ContainerTemplate, Limits } from '../../common/model/service.ts';
import { native } from '../../native/index.ts';
import { testFile } from './test-file.ts';
import { PATIENCE } from './until.ts';

export const forever = new AbortController().signal;
const POLL_MS = 5;
const POLLS_MAX = 4_000 * PATIENCE;

/** What a test may say of a container; the rest is plain. */
export interface Wanted {
  readonly template?: Partial<ContainerTemplate>;
  readonly limits?: Partial<Limits>;
  readonly image?: Partial<CreateRequest['image']>;
  readonly files?: CreateRequest['files'];
}

export class NativeWorld {
  readonly folder: string;
  readonly layer: string;
  readonly cgroupParent: string;
  readonly runtime: NativeRuntime;
  #made = 0;

  /** @param place  another world's, which was left as it was; absent: a new one */
  constructor(options: Partial<NativeRuntimeOptions> = {}, place?: Pick<NativeWorld, 'folder' | 'cgroupParent'>) {
    this.folder = place?.folder ?? mkdtempSync(join(tmpdir(), `covey-test-${process.pid}-`));
    // With our pid: should this process crash, the test runner finds by it what is left (deploy/crashed.mjs).
    this.cgroupParent = place?.cgroupParent ?? `/covey-test-${process.pid}-${randomBytes(6).toString('hex')}`;
    this.layer = join(this.folder, 'layer');
    mkdirSync(join(this.layer, 'bin'), { recursive: true });
    mkdirSync(join(this.layer, 'tmp'), { recursive: true });
    chmodSync(join(this.layer, 'tmp'), 0o1777);
    cpSync(testFile('test-init'), join(this.layer, 'bin', 'init'));
    this.runtime = this.newRuntime(options);
  }

  /** Puts a shell and its usual commands into the image, with the users root and guest (1000). */
  addShell(): void {
    cpSync('/bin/busybox', join(this.layer, 'bin', 'busybox'));
    for (const name of ['sh', 'cat', 'id', 'ls', 'sleep', 'stty', 'tty', 'pwd', 'env', 'kill', 'ps', 'head', 'wc']) {
      symlinkSync('busybox', join(this.layer, 'bin', name));
    }
    mkdirSync(join(this.layer, 'etc'));
    writeFileSync(
      join(this.layer, 'etc', 'passwd'),
      'root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n',
    );
    writeFileSync(join(this.layer, 'etc', 'group'), 'root:x:0:\nguest:x:1000:\n');
  }

  /** Another agent's view of the same state. */
  newRuntime(options: Partial<NativeRuntimeOptions> = {}): NativeRuntime {
    return new NativeRuntime({
      stateDir: join(this.folder, 'state'),
      cgroupParent: this.cgroupParent,
      clock: systemClock,
      addon: native(),
      shimPath: testFile('covey-shim'),
      ...options,
    });
  }

  request(args: readonly string[], wanted: Wanted = {}): CreateRequest {
    this.#made += 1;
    return {
      id: `c${this.#made}`,
      image: {
        layers: [this.layer],
        entrypoint: ['/bin/init'],
        cmd: [],
        env: [],
        workdir: '',
        user: '',
        stopSignal: '',
        ...wanted.image,
      },
      template: {
        image: 'test',
        args,
        env: [],
        labels: {},
        readOnly: false,
        stopGraceMs: 1_000,
        health: { kind: 'none' },
        startTimeoutMs: 1_000,
        drainMs: 0,
        ...wanted.template,
      },
      limits: { nanoCpus: 0, memoryBytes: 0, pids: 0, ...wanted.limits },
      hostname: 'test-host',
      files: wanted.files ?? [],
      labels: {},
    };
  }

  async started(args: readonly string[], wanted: Wanted = {}): Promise<Container> {
    const { id } = await this.runtime.create(this.request(args, wanted), forever);
    return this.runtime.start(id, forever);
  }

  /** Starts it, waits for its end. */
  async ran(
    args: readonly string[],
    wanted: Wanted = {},
  ): Promise<{ container: Container; exit: Exit; output: string }> {
    const container = await this.started(args, wanted);
    const exit = await this.runtime.wait(container.id, forever);
    return { container, exit, output: outputOf(container) };
  }

  /** What `init report` says from inside. */
  async report(wanted: Wanted = {}): Promise<ReadonlyMap<string, string>> {
    const { output } = await this.ran(['report'], wanted);
    return new Map(
      output.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** Resolves once the container has written that text. */
  async said(container: Container, text: string): Promise<void> {
    await until(() => outputOf(container).includes(text), `container ${container.id} says "${text}"`);
  }

  async destroy(): Promise<void> {
    this.runtime.close();
    const sweeper = this.newRuntime();
    for (const { id } of await sweeper.list(forever)) await sweeper.remove(id);
    sweeper.close();
    await native().cgroupRemove(this.cgroupParent);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Whether this host has pure cgroup v2, where every controller has the same folders. */
export function isUnified(): boolean {
  return native().cgroupFolder('memory', '/') === native().cgroupFolder('pids', '/');
}

/** Whether this host's kernel runs AppArmor, so that labels are applied. */
export function hasAppArmor(): boolean {
  const switchOf = '/sys/module/apparmor/parameters/enabled';
  return existsSync(switchOf) && readFileSync(switchOf, 'utf8').startsWith('Y');
}

/** Looks again every few milliseconds; fails with `what` after 20 s. Real processes have no fake clock. */
export async function until(isTrue: () => boolean, what: string, clock: Clock = systemClock): Promise<void> {
  for (let polls = 0; !isTrue(); polls += 1) {
    if (polls === POLLS_MAX) throw new Error(`never happened: ${what}`);
    await clock.sleep(POLL_MS, forever);
  }
}

/** Every line of all log files that are not compressed, oldest first. */
export function linesOf(container: Pick<Container, 'logPath'>): readonly LogEntry[] {
  return logPathsOf(container).flatMap((path) => {
    const bytes = readFileSync(path);
    const lines: LogEntry[] = [];
    for (let from = 0, end = bytes.indexOf(10); end >= 0; from = end + 1, end = bytes.indexOf(10, from)) {
      const line = parseLogEntry(bytes.subarray(from, end));
      if (line !== undefined) lines.push(line);
    }
    return lines;
  });
}

/** The log files that are not compressed, oldest first. */
export function logPathsOf(container: Pick<Container, 'logPath'>): readonly string[] {
  const folder = dirname(container.logPath);
  const aside = readdirSync(folder).filter((name) => /^log\.\d{8,}$/.test(name));
  const paths = [...aside.sort().map((name) => join(folder, name)), container.logPath];
  return paths.filter((path) => existsSync(path));
}

/** Both streams' text from all log files, oldest first. */
export function outputOf(container: Pick<Container, 'logPath'>): string {
  let text = '';
  for (const line of linesOf(container)) {
    text += Buffer.from(line.text).toString('utf8');
    if (!line.partial) text += '\n';
  }
  return text;
}
