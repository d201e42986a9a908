/** A private etcd for a test: unix socket in a directory of its own, gone with the test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../common/clock.ts';
import { makeLog } from '../../common/log.ts';
import { EmbeddedEtcd } from '../../manager/store/embedded.ts';
import { Etcd } from '../../manager/store/etcd.ts';
import { EtcdStore } from '../../manager/store/etcd-store.ts';

const { TEST_LOG } = process.env;
/** Says nothing, unless TEST_LOG=debug. */
export const testLog = makeLog({ program: 'test', level: TEST_LOG === 'debug' ? 'debug' : 'silent' });

export class TestEtcd {
  readonly server: EmbeddedEtcd;
  readonly directory: string;
  readonly #closers: (() => Promise<void> | void)[] = [];

  private constructor(server: EmbeddedEtcd, directory: string) {
    this.server = server;
    this.directory = directory;
  }

  static async start(options: { readonly quotaBytes?: number } = {}): Promise<TestEtcd> {
    const directory = await mkdtemp(join(tmpdir(), 'covey-etcd-'));
    try {
      const parts = { directory, clock: systemClock, log: testLog, ...options };
      return new TestEtcd(await EmbeddedEtcd.start(parts, AbortSignal.timeout(30_000)), directory);
    } catch (cause) {
      await rm(directory, { recursive: true, force: true });
      throw cause;
    }
  }

  /** A client; closed with the etcd. */
  client(endpoint: string = this.server.endpoint): Etcd {
    const etcd = new Etcd({ endpoints: [endpoint], clock: systemClock });
    this.#closers.push(() => etcd.close());
    return etcd;
  }

  /** Another manager's store; closed with the etcd. */
  async store(etcd: Etcd = this.client(), prefix = 'covey'): Promise<EtcdStore> {
    const options = { etcd, prefix, clock: systemClock, log: testLog };
    const store = await EtcdStore.open(options, AbortSignal.timeout(30_000));
    this.#closers.push(() => store.close());
    return store;
  }

  /** Sends the process a signal: SIGSTOP, SIGCONT, SIGKILL. */
  signal(name: NodeJS.Signals): void {
    const { pid } = this.server;
    if (pid === undefined) throw new Error('etcd has no pid');
    process.kill(pid, name);
  }

  async close(): Promise<void> {
    try {
      for (const close of this.#closers.reverse()) await close();
    } finally {
      await this.server.close();
      await rm(this.directory, { recursive: true, force: true });
    }
  }
}
