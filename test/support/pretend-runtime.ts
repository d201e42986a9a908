/** Containers without processes: the test says when they end. What one pretend runtime holds survives the agent that used it. */
import type {
  Container,
  CreateRequest,
  ExecRequest,
  ExecResult,
  Exit,
  Runtime,
  Stats,
  StopRequest,
} from '../../agent/runtime/runtime.ts';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { type PromiseWithResolvers, untilAborted, withResolvers } from '../../common/iterate.ts';

interface Held {
  container: Container;
  readonly ended: PromiseWithResolvers<Exit>;
}

export class PretendRuntime implements Runtime {
  /** Every call that changes something, in order. */
  readonly calls: string[] = [];
  /** The next `create` or `start` fails with this. */
  readonly failures: { create: unknown[]; start: unknown[] } = { create: [], start: [] };
  /** Answers health commands. */
  onExec: (request: ExecRequest) => ExecResult = () => ({ exitCode: 0, output: '', timedOut: false });
  /** A deaf container needs its grace and the kill. */
  isDeaf = false;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();
  #pids = 1_000;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many containers run at this moment. */
  get running(): readonly string[] {
    return [...this.#held.values()]
      .filter((held) => held.container.state === 'running')
      .map((held) => held.container.id);
  }

  /** Ends a running container by itself. */
  end(id: string, how: Partial<Exit> = {}): void {
    const held = this.#get(id);
    const now = this.#clock.now();
    const exit = { code: 0, signal: null, oomKilled: false, startedAt: now, finishedAt: now, ...how };
    held.container = { ...held.container, state: 'exited', exit };
    held.ended.resolve(exit);
  }

  async create(request: CreateRequest): Promise<Container> {
    this.calls.push(`create ${request.id}`);
    if (this.failures.create.length > 0) throw this.failures.create.shift();
    if (this.#held.has(request.id)) throw new ClusterError('exists', `container ${request.id} exists`);
    this.#pids += 1;
    const container: Container = {
      id: request.id,
      state: 'created',
      pid: this.#pids,
      startTime: this.#pids,
      netnsPath: `/proc/${this.#pids}/ns/net`,
      logPath: `/nowhere/${request.id}`,
      createdAt: this.#clock.now(),
      labels: request.labels,
    };
    this.#held.set(request.id, { container, ended: withResolvers() });
    return container;
  }

  async start(id: string): Promise<Container> {
    this.calls.push(`start ${id}`);
    if (this.failures.start.length > 0) throw this.failures.start.shift();
    const held = this.#get(id);
    held.container = { ...held.container, state: 'running' };
    return held.container;
  }

  wait(id: string, signal: AbortSignal): Promise<Exit> {
    return untilAborted(this.#get(id).ended.promise, signal);
  }

  async kill(id: string, signalNumber: number): Promise<boolean> {
    this.calls.push(`kill ${id} ${signalNumber}`);
    return true;
  }

  async stop(id: string, request: StopRequest, signal: AbortSignal): Promise<Exit> {
    this.calls.push(`stop ${id}`);
    const held = this.#get(id);
    if (held.container.state === 'running') {
      if (this.isDeaf) await this.#clock.sleep(request.graceMs, signal);
      this.end(id, this.isDeaf ? { code: null, signal: 9 } : { code: null, signal: 15 });
    }
    return await held.ended.promise;
  }

  async exec(_id: string, request: ExecRequest): Promise<ExecResult> {
    return this.onExec(request);
  }

  async stats(): Promise<Stats> {
    return { cpuNanos: 0, memoryBytes: 0, pids: 1 };
  }

  async remove(id: string): Promise<void> {
    this.calls.push(`remove ${id}`);
    const held = this.#held.get(id);
    if (held?.container.state === 'running') this.end(id, { code: null, signal: 9 });
    this.#held.delete(id);
  }

  async list(): Promise<readonly Container[]> {
    return [...this.#held.values()].map((held) => held.container);
  }

  #get(id: string): Held {
    const held = this.#held.get(id);
    if (held === undefined) throw new ClusterError('not_found', `container ${id} is unknown`);
    return held;
  }
}
