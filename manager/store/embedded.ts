/**
 * An etcd of the manager's own: a child process with its own data directory, reachable through a unix socket in a directory
 * that only its owner may enter. It dies with its manager, comes back when it dies alone, and is started only once a
 * directory.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { Clock } from '../../common/clock.ts';
import { ClusterError, messageOf } from '../../common/errors.ts';
import { isAbort, Scope } from '../../common/lifecycle.ts';
import type { Log } from '../../common/log.ts';
import { backoff } from '../../common/retry.ts';
import { Etcd } from './etcd.ts';

/** Names without a slash: etcd takes `unix://HOST:PORT` only, as a file of its working directory. */
const CLIENT_SOCKET = 'client:0';
const PEER_SOCKET = 'peer:0';
/** Source: unix(7), `sun_path` is 108 bytes with its end. */
const SOCKET_PATH_MAX = 107;
/** Lock taken by etcd's process itself, so that it is held exactly as long as etcd lives. */
const LOCK = 'lock';
const PID = 'etcd.pid';
/** A manager that is replaced takes some seconds to stop its etcd. */
const LOCK_WAIT_SECONDS = 10;
/** flock's exit code for a lock that somebody else holds. */
const LOCKED = 75;
/** Replaying a large log takes a while. */
const READY_MAX_MS = 60_000;
const STOP_MAX_MS = 5_000;
const ASK_AGAIN_MS = 25;
const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 5_000;
/** Lines of etcd's log that an error may quote. */
const LAST_LINES = 5;
const OLDEST_VERSION = [3, 4] as const;
export const DEFAULT_QUOTA_BYTES = 2 * 1024 ** 3;

export interface EmbeddedOptions {
  /** Absolute; made if absent. Its path is short, because the socket lies in it. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly quotaBytes?: number;
  readonly program?: string;
  /** How long to wait for another etcd on the directory to end; seconds. */
  readonly lockWaitSeconds?: number;
}

export class EmbeddedEtcd {
  readonly #options: EmbeddedOptions;
  readonly #scope = new Scope('embedded etcd');
  #child: Child;

  private constructor(options: EmbeddedOptions, child: Child) {
    this.#options = options;
    this.#child = child;
  }

  /**
   * Resolves when it answers.
   * @throws ClusterError `unavailable` when there is no etcd or it does not start, `exists` when another one runs on the
   *   directory, `invalid` for a directory whose path is too long
   */
  static async start(options: EmbeddedOptions, signal: AbortSignal): Promise<EmbeddedEtcd> {
    await checkVersion(options.program ?? 'etcd');
    await prepare(options.directory);
    const child = new Child(options);
    const embedded = new EmbeddedEtcd(options, child);
    try {
      await embedded.#ready(child, signal);
    } catch (cause) {
      await child.stop(options.clock);
      throw cause;
    }
    embedded.#scope.run('supervision', (stop) => embedded.#supervise(stop));
    return embedded;
  }

  /** For `Etcd`. */
  get endpoint(): string {
    return `unix:${join(this.#options.directory, CLIENT_SOCKET)}`;
  }

  /** Changes when it is restarted. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Stops it and waits for its end. */
  async close(): Promise<void> {
    const closing = this.#scope.close();
    await this.#child.stop(this.#options.clock);
    await closing;
  }

  async #supervise(signal: AbortSignal): Promise<void> {
    const { clock, log, directory } = this.#options;
    for (let failures = 0; ; ) {
      const startedAt = clock.now();
      const code = await this.#child.exit;
      if (signal.aborted) return;
      failures = clock.now() - startedAt > RESTART_MAX_MS ? 1 : failures + 1;
      const delayMs = backoff(failures, RESTART_FIRST_MS, RESTART_MAX_MS);
      log.error({ directory, code, lines: this.#child.lastLines, delayMs }, 'etcd ended and is started again');
      try {
        await clock.sleep(delayMs, signal);
        this.#child = new Child(this.#options);
        await this.#ready(this.#child, signal);
        log.info({ directory, pid: this.#child.pid }, 'etcd runs again');
      } catch (cause) {
        if (isAbort(cause, signal)) return;
        await this.#child.stop(clock);
      }
    }
  }

  async #ready(child: Child, signal: AbortSignal): Promise<void> {
    const { clock, directory, lockWaitSeconds = LOCK_WAIT_SECONDS } = this.#options;
    const etcd = new Etcd({ endpoints: [this.endpoint], clock });
    const limit = clock.now() + READY_MAX_MS + lockWaitSeconds * 1_000;
    try {
      for (;;) {
        await clock.sleep(ASK_AGAIN_MS, signal);
        if (child.code !== undefined) throw await whyEnded(child, directory);
        if (clock.now() > limit) throw new ClusterError('unavailable', `etcd in ${directory} does not become ready`);
        // While the lock is waited for, another etcd may answer on the same socket.
        if (await child.isEtcd()) {
          const answers = await etcd.health(signal).then(
            () => true,
            () => false,
          );
          if (answers && child.code === undefined) break;
        }
      }
    } finally {
      etcd.close();
    }
    await writeFile(join(directory, PID), `${child.pid}\n`, { mode: 0o600 });
  }
}

/** One run of the etcd process. */
class Child {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  /** Resolves with the exit code, or the signal's name. */
  readonly exit: Promise<number | string>;
  #code: number | string | undefined;

  constructor(options: EmbeddedOptions) {
    const { PATH = '/usr/sbin:/usr/bin:/sbin:/bin' } = process.env;
    const wait = options.lockWaitSeconds ?? LOCK_WAIT_SECONDS;
    // Each becomes the next by exec, so that the pid, the parent's death signal and the lock are etcd's own.
    const flock = ['flock', '--no-fork', '--timeout', String(wait), '--conflict-exit-code', String(LOCKED), LOCK];
    // A killed etcd leaves its sockets, and the next one would not listen on them; under the lock they are nobody's.
    const clear = ['sh', '-c', `rm -f ${CLIENT_SOCKET} ${PEER_SOCKET}; exec "$0" "$@"`];
    const etcd = [options.program ?? 'etcd', ...flags(options)];
    const command = ['--pdeathsig', 'SIGKILL', '--', ...flock, ...clear, ...etcd];
    this.#process = spawn('setpriv', command, {
      cwd: options.directory,
      stdio: ['ignore', 'ignore', 'pipe'],
      // Variables named ETCD_* would contradict the flags.
      env: { PATH, ...(process.arch === 'arm64' && UNSUPPORTED_ARCH) },
    });
    if (this.#process.stderr) createInterface(this.#process.stderr).on('line', (line) => this.#say(line, options.log));
    this.exit = this.#watch();
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Absent while it runs. */
  get code(): number | string | undefined {
    return this.#code;
  }

  get lastLines(): readonly string[] {
    return this.#lines;
  }

  /** False while it still waits for the lock. */
  async isEtcd(): Promise<boolean> {
    const line = await readFile(`/proc/${this.pid}/cmdline`, 'utf8').catch(() => '');
    return line !== '' && !/^(setpriv|flock|sh)\0/.test(line);
  }

  async stop(clock: Clock): Promise<void> {
    this.#process.kill('SIGTERM');
    const cancel = clock.after(STOP_MAX_MS, () => this.#process.kill('SIGKILL'));
    await this.exit;
    cancel();
  }

  async #watch(): Promise<number | string> {
    try {
      const [code, signal] = (await once(this.#process, 'exit')) as [number | null, string | null];
      this.#code = code ?? signal ?? 'unknown';
    } catch (cause) {
      this.#lines.push(messageOf(cause));
      this.#code = 127;
    }
    return this.#code;
  }

  #say(line: string, log: Log): void {
    this.#lines.push(line);
    if (this.#lines.length > LAST_LINES) this.#lines.shift();
    log.debug({ line }, 'etcd says');
  }
}

/** Debian's etcd 3.4 wants to be asked for it on this architecture. */
const UNSUPPORTED_ARCH = { ETCD_UNSUPPORTED_ARCH: 'arm64' } as const;

function flags(options: EmbeddedOptions): readonly string[] {
  return [
    ['--name', 'covey'],
    ['--data-dir', join(options.directory, 'data')],
    ['--listen-client-urls', `unix://${CLIENT_SOCKET}`],
    ['--advertise-client-urls', `unix://${CLIENT_SOCKET}`],
    ['--listen-peer-urls', `unix://${PEER_SOCKET}`],
    ['--initial-advertise-peer-urls', `unix://${PEER_SOCKET}`],
    ['--initial-cluster', `covey=unix://${PEER_SOCKET}`],
    ['--quota-backend-bytes', String(options.quotaBytes ?? DEFAULT_QUOTA_BYTES)],
    ['--logger', 'zap'],
    ['--log-outputs', 'stderr'],
    ['--log-level', 'warn'],
  ].flat();
}

async function prepare(directory: string): Promise<void> {
  const longest = Buffer.byteLength(join(directory, CLIENT_SOCKET));
  if (!isAbsolute(directory) || longest > SOCKET_PATH_MAX) {
    throw new ClusterError('invalid', `etcd directory "${directory}" cannot hold a unix socket`, {
      hint: `use an absolute path of at most ${SOCKET_PATH_MAX - CLIENT_SOCKET.length - 1} bytes`,
    });
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const { uid } = await stat(directory);
  if (uid !== process.getuid?.()) {
    throw new ClusterError('denied', `etcd directory "${directory}" belongs to user ${uid}`, {
      hint: 'run the manager as that user, or give it another state directory',
    });
  }
  await chmod(directory, 0o700);
}

async function checkVersion(program: string): Promise<void> {
  let text = '';
  try {
    text = (await promisify(execFile)(program, ['--version'])).stdout;
  } catch (cause) {
    throw new ClusterError('unavailable', `cannot run "${program}": ${messageOf(cause)}`, {
      hint: 'install the package etcd-server, or use an outside etcd with --etcd',
      cause,
    });
  }
  const [major = 0, minor = 0] = (/Version: (\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  if (major === OLDEST_VERSION[0] && minor >= OLDEST_VERSION[1]) return;
  throw new ClusterError('unavailable', `"${program}" is etcd ${major}.${minor}; 3.4 or newer is needed`, {
    hint: 'install a newer etcd-server',
  });
}

async function whyEnded(child: Child, directory: string): Promise<ClusterError> {
  if (child.code !== LOCKED) {
    return new ClusterError(
      'unavailable',
      `etcd in ${directory} ended (${child.code}): ${child.lastLines.join(' | ')}`,
    );
  }
  const pid = (await readFile(join(directory, PID), 'utf8').catch(() => '')).trim();
  return new ClusterError('exists', `another etcd${pid === '' ? '' : ` (pid ${pid})`} runs on ${directory}`, {
    hint: 'only one manager may use the directory; stop the other one or choose another state directory',
  });
}
