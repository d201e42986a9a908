/** Whether this host can do its work: start a process, write to its disk, answer for its runtime and network. Reported when it changes. */
import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock } from '../common/clock.ts';
import { messageOf } from '../common/errors.ts';
import type { Log } from '../common/log.ts';
import type { DiskKeeper } from './disk/keeper.ts';
import type { Network } from './network/network.ts';
import type { Runtime } from './runtime/runtime.ts';

const EVERY_MS = 5_000;
/** A process or an answer that takes longer is as good as none. */
const PATIENCE_MS = 10_000;
const PROBE_BYTES = 4_096;

export interface SelfTestTools {
  readonly stateDir: string;
  readonly runtime: Pick<Runtime, 'list'>;
  readonly network: Pick<Network, 'unfit'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly disk: Pick<DiskKeeper, 'check'>;
}

const run = promisify(execFile);

export class SelfTest {
  readonly #tools: SelfTestTools;
  readonly #listeners = new Set<() => void>();
  #reason = '';

  constructor(tools: SelfTestTools) {
    this.#tools = tools;
  }

  /** One line with the cause; empty = well. */
  get reason(): string {
    return this.#reason;
  }

  /** Told when `reason` has changed. Returns what ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Tests again and again; rejects only with the signal's reason. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.check(signal);
      await this.#tools.clock.sleep(EVERY_MS, signal);
    }
  }

  /** Tests once. */
  async check(signal: AbortSignal): Promise<void> {
    const reason = await this.#test(signal);
    signal.throwIfAborted();
    if (reason === this.#reason) return;
    this.#reason = reason;
    if (reason === '') this.#tools.log.info('this host is fit again');
    else this.#tools.log.warn({ reason }, 'this host is unfit for new tasks');
    for (const listener of this.#listeners) listener();
  }

  async #test(signal: AbortSignal): Promise<string> {
    const { runtime, network } = this.#tools;
    try {
      const disk = (await this.#tools.disk.check(signal)) || (await this.#tryDisk());
      if (disk !== '') return disk;
      await run('/bin/true', { signal, timeout: PATIENCE_MS });
      await runtime.list(signal);
      return await network.unfit();
    } catch (cause) {
      return messageOf(cause);
    }
  }

  async #tryDisk(): Promise<string> {
    const { stateDir } = this.#tools;
    const probe = join(stateDir, 'disk-probe');
    try {
      await writeFile(probe, Buffer.alloc(PROBE_BYTES), { mode: 0o600 });
      return '';
    } catch (cause) {
      return `cannot write to ${stateDir}: ${messageOf(cause)}`;
    } finally {
      await rm(probe, { force: true });
    }
  }
}
