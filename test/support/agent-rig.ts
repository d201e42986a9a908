/** One agent's worker over pretend parts and a clock that stands still. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Assignment } from '../../agent/assignment.ts';
import { toAssignment } from '../../agent/cluster-map.ts';
import { AgentState } from '../../agent/state.ts';
import { Worker } from '../../agent/worker.ts';
import { noLog } from '../../common/log.ts';
import type { Digest, NodeId } from '../../common/model/ids.ts';
import type { Port } from '../../common/model/service.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import type { covey } from '../../proto/messages.ts';
import { FakeClock, settle } from './fake-clock.ts';
import { FakeImages } from './fake-images.ts';
import { FakeNetwork } from './fake-network.ts';
import { FakeRuntime } from './fake-runtime.ts';
import { aRevision, aService, aSpec, aTemplate, CONTAINER } from './fixtures.ts';
import { aTask } from './objects.ts';

export const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;
export const PORT_80: Port = { protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' };

export interface HeldOptions {
  readonly task?: Partial<Task>;
  readonly ports?: readonly Port[];
  readonly container?: Partial<typeof CONTAINER>;
  readonly template?: Parameters<typeof aTemplate>[0];
  readonly released?: boolean;
}

/** A task of service `web`, wanted running, without health check or ports unless said otherwise. */
export function aHeld(id: string, options: HeldOptions = {}): Assignment {
  const container = { ...CONTAINER, imageDigest: DIGEST, ...options.container };
  const service = aService('web', aSpec('web', { template: aTemplate({ container, ...options.template }) }));
  return {
    task: aTask(id, 'web', { nodeId: 'n1' as NodeId, address: '10.64.0.5', ...options.task }),
    revision: aRevision(service, { ports: options.ports ?? [] }),
    released: options.released ?? false,
  };
}

/** Builds assignments as a manager of epoch 1.`reign` sends them. */
export function assignments(change: covey.v1.Assignments.$Properties & { readonly held?: readonly Assignment[] }) {
  const { held = [], ...rest } = change;
  return {
    epoch: { incarnation: 1, reign: 1 },
    from: 0,
    revision: 1,
    complete: true,
    block: '10.64.0.0/24',
    pool: '10.64.0.0/12',
    tasks: held.map(toAssignment),
    ...rest,
  };
}

export class AgentRig {
  readonly clock = new FakeClock(1_000_000);
  readonly runtime = new FakeRuntime(this.clock);
  readonly network = new FakeNetwork();
  readonly images = new FakeImages();
  readonly dir: string;
  /** Every status reported, in order. */
  readonly said: TaskStatus[] = [];
  /** Whether containers accept connections on their ports. */
  isListening = true;
  worker: Worker;
  #state: AgentState;

  private constructor(dir: string) {
    this.dir = dir;
    this.#state = new AgentState(dir, noLog);
    this.worker = this.#newWorker();
  }

  /** @param dir  the state directory; default: a new one */
  static async make(dir?: string): Promise<AgentRig> {
    const rig = new AgentRig(dir ?? (await mkdtemp(join(tmpdir(), 'covey-agent-'))));
    await rig.worker.start(new AbortController().signal);
    return rig;
  }

  /** The agent's process ends and another one begins on the same directory and host. */
  async restart(): Promise<void> {
    await this.worker.stop();
    this.worker = this.#newWorker();
    await this.worker.start(new AbortController().signal);
    await this.idle();
  }

  /** Applies what a manager says, with a session open, and lets everything happen that needs no time. */
  async assign(...held: readonly Assignment[]): Promise<void> {
    await this.worker.apply(assignments({ held }));
    await this.idle();
  }

  /** Time passes. */
  async pass(ms: number): Promise<void> {
    await this.idle();
    this.clock.advance(ms);
    await this.idle();
  }

  /** Lets disk writes and promises come to rest. */
  async idle(): Promise<void> {
    for (let turn = 0; turn < 3; turn += 1) {
      await settle();
      await this.#state.close();
    }
    await settle();
  }

  /** Containers that run at this moment. */
  async running(): Promise<readonly string[]> {
    const containers = await this.runtime.list(new AbortController().signal);
    return containers.filter((container) => container.state === 'running').map((container) => container.id);
  }

  /** The states a task went through, as reported. */
  states(id: string): readonly string[] {
    const states = this.said.filter((status) => status.taskId === id).map((status) => status.state);
    return states.filter((state, index) => state !== states[index - 1]);
  }

  /** The newest status of a task. */
  last(id: string): TaskStatus | undefined {
    return this.said.filter((status) => status.taskId === id).at(-1);
  }

  async close(): Promise<void> {
    await this.worker.stop();
    await rm(this.dir, { recursive: true, force: true });
  }

  #newWorker(): Worker {
    this.#state = new AgentState(this.dir, noLog);
    const worker = new Worker({
      nodeId: 'n1' as NodeId,
      address: '192.0.2.1',
      runtime: this.runtime,
      images: this.images,
      network: this.network,
      state: this.#state,
      clock: this.clock,
      log: noLog,
      filesFor: () => Promise.resolve([]),
      connects: () => Promise.resolve(this.isListening),
    });
    worker.listen((status) => this.said.push(status));
    return worker;
  }
}
