/** A dockerd of the bench's own: its data, runtime state, socket and containerd in one folder, no network, gone with `stop`. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from '../support/until.ts';
import type { Contender } from './image.ts';

const run = promisify(execFile);
/** dockerd makes it wherever its data are. */
const KEY = '/etc/docker/key.json';

export async function hasDocker(): Promise<boolean> {
  return await run('sh', ['-c', 'command -v dockerd docker containerd']).then(
    () => true,
    () => false,
  );
}

export class Docker {
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #hadKey: boolean;

  private constructor(folder: string, child: ChildProcess, hadKey: boolean) {
    this.#folder = folder;
    this.#child = child;
    this.#hadKey = hadKey;
  }

  static async start(folder: string): Promise<Docker> {
    mkdirSync(folder);
    const hadKey = existsSync(KEY);
    const places = ['--data-root', `${folder}/data`, '--exec-root', `${folder}/exec`, '--pidfile', `${folder}/pid`];
    const alone = [
      '--bridge',
      'none',
      '--iptables=false',
      '--ip6tables=false',
      '--ip-forward=false',
      '--storage-driver',
      'overlay2',
    ];
    const words = [...places, ...alone, '-H', `unix://${folder}/sock`, '--log-level', 'error'];
    const child = spawn('dockerd', words, { stdio: 'ignore' });
    const docker = new Docker(folder, child, hadKey);
    try {
      await until('dockerd answers', 30_000, async () => (await docker.#docker(['version'])) !== '');
    } catch (cause) {
      await docker.stop();
      throw cause;
    }
    return docker;
  }

  pull(name: string): Contender {
    return {
      name: 'docker',
      run: async (signal) => void (await this.#docker(['pull', '-q', name], signal)),
      after: async () => {
        await this.#docker(['rmi', '-f', name]);
        return [];
      },
    };
  }

  /** Of what is pulled from `from` before. */
  async push(from: string, to: string, empty: () => Promise<void>): Promise<Contender> {
    await this.#docker(['pull', '-q', from]);
    await this.#docker(['tag', from, to]);
    return {
      name: 'docker',
      run: async (signal) => void (await this.#docker(['push', '-q', to], signal)),
      after: async () => {
        await empty();
        return [];
      },
    };
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      // It ends its containerd with itself.
      this.#child.kill('SIGTERM');
      await once(this.#child, 'exit');
    }
    if (!this.#hadKey) rmSync(KEY, { force: true });
  }

  async #docker(words: readonly string[], signal?: AbortSignal): Promise<string> {
    const env = { ...process.env, DOCKER_CONFIG: join(this.#folder, 'config') };
    return (await run('docker', ['-H', `unix://${this.#folder}/sock`, ...words], { env, signal })).stdout;
  }
}
