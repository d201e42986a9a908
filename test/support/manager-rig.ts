/** A manager on loopback, with clients and pretend agents that hold real certificates. Closed as a whole. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../common/clock.ts';
import { newId } from '../../common/ids.ts';
import { Queue } from '../../common/iterate.ts';
import type { ManagerId } from '../../common/model/ids.ts';
import { rpcChannel } from '../../common/rpc.ts';
import { createCa, issue, type KeyedCertificate } from '../../common/tls/certificate.ts';
import type { RunningManager } from '../../manager/serve.ts';
import { serve } from '../../manager/serve.ts';
import { put, type Store } from '../../manager/store/store.ts';
import type { covey } from '../../proto/messages.ts';
import { Control, Dispatcher } from '../../proto/methods.ts';
import type { Role } from '../../proto/rpc.ts';
import type { RpcChannel } from '../../proto/rpc-channel.ts';
import { testLog } from './etcd.ts';
import { aCluster, aDescription } from './fixtures.ts';

const LIFETIME_MS = 24 * 3_600_000;
const WELL = { healthy: true, message: '', sizeBytes: 1, quotaBytes: 2, version: '3.4', embedded: true };

export class ManagerRig {
  readonly ca: KeyedCertificate;
  readonly stop = new AbortController();
  readonly #closers: (() => Promise<void> | void)[] = [];

  private constructor(ca: KeyedCertificate) {
    this.ca = ca;
  }

  /** A cluster with these nodes in its records, none of them seen yet. */
  static async make(store: Store, nodes: readonly string[]): Promise<ManagerRig> {
    const ca = await createCa('cluster', Date.now());
    const cluster = aCluster({ ca, certificateLifetimeMs: LIFETIME_MS, createdAt: Date.now(), joinSecret: newId() });
    const rig = new ManagerRig(ca);
    const records = nodes.map((id) =>
      put(
        'node',
        id,
        { id: id as never, availability: 'active', role: 'worker', labels: {}, createdAt: Date.now() },
        0,
      ),
    );
    await store.commit([[put('cluster', 'default', cluster, 0), ...records]], rig.stop.signal);
    return rig;
  }

  async manager(store: Store): Promise<RunningManager> {
    const imagesDir = await mkdtemp(join(tmpdir(), 'covey-images-'));
    this.#closers.push(() => rm(imagesDir, { recursive: true, force: true }));
    const manager = await serve({
      id: newId<ManagerId>(),
      store,
      health: { report: async () => WELL },
      listen: '127.0.0.1:0',
      advertise: (port) => `127.0.0.1:${port}`,
      imagesDir,
      registries: { insecure: [], certs: join(imagesDir, 'certs'), mirrors: new Map() },
      imageUploadRate: 0,
      clock: systemClock,
      log: testLog,
      skipDrain: false,
    });
    this.#closers.push(() => manager.close());
    return manager;
  }

  /** A connection with a certificate of this role and name. */
  async channel(address: string, role: Role, id: string): Promise<RpcChannel> {
    const validity = { now: Date.now(), lifetimeMs: LIFETIME_MS };
    const own = await issue(this.ca, { role, id, clusterId: 'cluster' }, validity);
    const channel = rpcChannel(address, { ...own, ca: this.ca.certificate });
    this.#closers.push(() => channel.close());
    return channel;
  }

  async control(address: string) {
    return (await this.channel(address, 'client', 'admin')).service(Control);
  }

  /** A node's session, opened and greeted. */
  async agent(address: string, node: string): Promise<PretendAgent> {
    return new PretendAgent(await this.channel(address, 'worker', node), node, this.stop.signal);
  }

  async close(): Promise<void> {
    this.stop.abort();
    for (const close of this.#closers.reverse()) await close();
  }
}

/** An agent without containers: it acknowledges every revision and runs whatever it is told to, at once. */
export class PretendAgent {
  readonly heard: covey.v1.ManagerMessage[] = [];
  /** How the session ended. */
  end: unknown;
  readonly #out: Queue<covey.v1.AgentMessage.$Properties>;
  readonly #leave = new AbortController();
  readonly #rpc;
  #sequence = 0;
  /** What it publishes for every log request: lines of each task. */
  lines: readonly string[] = [];

  constructor(channel: RpcChannel, node: string, signal: AbortSignal) {
    const stop = AbortSignal.any([signal, this.#leave.signal]);
    this.#out = new Queue(1_000, stop);
    this.#rpc = channel.service(Dispatcher);
    this.say({ hello: { description: aDescription(node), unfit: '' } });
    const live = async (): Promise<void> => {
      for await (const message of this.#rpc.session(this.#out, { signal: stop })) this.#hear(message, stop);
    };
    live().then(
      () => {
        this.end ??= 'clean';
      },
      (cause: unknown) => {
        this.end = cause;
      },
    );
  }

  say(message: covey.v1.AgentMessage.$Properties): void {
    this.#out.push(message);
  }

  report(...statuses: covey.v1.TaskStatus.$Properties[]): number {
    this.#sequence += 1;
    this.say({ report: { sequence: this.#sequence, statuses } });
    return this.#sequence;
  }

  leave(): void {
    this.#leave.abort();
  }

  #hear(message: covey.v1.ManagerMessage, signal: AbortSignal): void {
    this.heard.push(message);
    const { assignments, logs } = message;
    if (assignments) {
      this.say({ ack: { revision: assignments.revision } });
      for (const { task, released } of assignments.tasks) {
        if (task?.desired === 'running') this.report({ taskId: task.id, state: 'running', healthy: true });
        else if (released && task) this.report({ taskId: task.id, state: 'shutdown' });
      }
    }
    if (logs) {
      this.#rpc.publishLogs(this.#published(logs), { signal }).catch((cause: unknown) => {
        this.end ??= cause;
      });
    }
  }

  async *#published({ id, tasks }: covey.v1.LogRequest): AsyncIterable<covey.v1.PublishedLog.$Properties> {
    yield { requestId: id, lines: [] };
    for (const taskId of tasks) {
      const lines = this.lines.map((text) => ({ taskId, stream: 'stdout', time: 't', text: Buffer.from(text) }));
      yield { requestId: id, lines };
    }
  }
}
