/** Containers without a kernel: deterministic, scripted by the test, nothing ends unless told to. */
import type { ExecSession, OpenExecRequest, TerminalSize } from '../../agent/runtime/exec.ts';
import {
  CONTAINER_ID,
  type Container,
  type CreateRequest,
  type ExecRequest,
  type ExecResult,
  type Exit,
  type ResourceUpdate,
  type Runtime,
  type Stats,
  type StopRequest,
} from '../../agent/runtime/runtime.ts';
import { signalNumber } from '../../agent/runtime/signal.ts';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { type PromiseWithResolvers, untilAborted, withResolvers } from '../../common/iterate.ts';

const SIGKILL = 9;
const FIRST_PID = 1_000;

/** Of a container that does nothing, in its one process. */
const IDLE: Stats = {
  cpu: { usageNanos: 0, userNanos: 0, systemNanos: 0, periods: 0, throttledPeriods: 0, throttledNanos: 0 },
  memory: {
    usageBytes: 0,
    workingSetBytes: 0,
    limitBytes: null,
    peakBytes: null,
    swapBytes: null,
    limitHits: 0,
    highHits: null,
    lowHits: null,
    ooms: null,
    oomKills: 0,
  },
  pids: { count: 1, limit: null },
  io: [],
  hugePages: [],
  pressure: { cpu: null, memory: null, io: null },
};

interface Pretend {
  container: Container;
  readonly request: CreateRequest;
  readonly ended: PromiseWithResolvers<Exit>;
  startedAt: number;
}

/** What a container does when a signal arrives. Default: ends with 0 on any signal. */
export type OnSignal = (signal: number, id: string) => 'ignore' | { readonly code: number };

export class FakeRuntime implements Runtime {
  /** Every call that changes something, as `create web.1`, `kill web.1 15`, in order. */
  readonly calls: string[] = [];
  readonly #clock: Clock;
  readonly #containers = new Map<string, Pretend>();
  readonly #failures = new Map<string, unknown[]>();
  readonly #gates = new Map<string, PromiseWithResolvers<void>>();
  #nextPid = FIRST_PID;
  #onSignal: OnSignal = () => ({ code: 0 });
  #onExec: (id: string, request: ExecRequest) => ExecResult = () => ({ exitCode: 0, output: '', timedOut: false });

  #onOpenExec: (id: string, request: OpenExecRequest) => ExecSession = (id) => {
    throw new ClusterError('invalid', `command in container ${id}: command does not exist in the image`);
  };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The next `create` or `start` of this id rejects with `cause`; several queue up. */
  failNext(call: 'create' | 'start', id: string, cause: unknown): void {
    const key = `${call} ${id}`;
    this.#failures.set(key, [...(this.#failures.get(key) ?? []), cause]);
  }

  /** Holds `create` or `start` of this id back until the returned function is called: a slow start. */
  hold(call: 'create' | 'start', id: string): () => void {
    const gate = withResolvers<void>();
    this.#gates.set(`${call} ${id}`, gate);
    return () => gate.resolve();
  }

  /** What containers do on signals other than SIGKILL, which always ends them. */
  onSignal(answer: OnSignal): void {
    this.#onSignal = answer;
  }

  /** What commands inside containers answer. */
  onExec(answer: (id: string, request: ExecRequest) => ExecResult): void {
    this.#onExec = answer;
  }

  /** How users' commands run. */
  onOpenExec(answer: (id: string, request: OpenExecRequest) => ExecSession): void {
    this.#onOpenExec = answer;
  }

  /** Ends a container by itself. */
  end(id: string, how: Partial<Pick<Exit, 'code' | 'signal' | 'oomKilled'>> = { code: 0 }): void {
    const pretend = this.#find(id);
    if (pretend.container.state === 'exited') return;
    const exit: Exit = {
      code: how.code ?? null,
      signal: how.signal ?? null,
      oomKilled: how.oomKilled ?? false,
      startedAt: pretend.startedAt,
      finishedAt: this.#clock.now(),
    };
    pretend.container = { ...pretend.container, state: 'exited', exit };
    pretend.ended.resolve(exit);
  }

  /** What a shim does while no agent is there: the run ends, and another begins in its place. */
  runAgain(id: string, code: number): void {
    const pretend = this.#find(id);
    const now = this.#clock.now();
    const { run, pastRuns } = pretend.container;
    const exit: Exit = { code, signal: null, oomKilled: false, startedAt: pretend.startedAt, finishedAt: now };
    const past = [...pastRuns, { number: run, exit }];
    pretend.startedAt = now;
    pretend.container = { ...pretend.container, run: run + 1, runStartedAt: now, pastRuns: past, pid: this.#nextPid++ };
  }

  /** Gives the container a log that the test writes. */
  relocateLog(id: string, logPath: string): void {
    const pretend = this.#find(id);
    pretend.container = { ...pretend.container, logPath };
  }

  /** The request a container was made from. */
  requestOf(id: string): CreateRequest {
    return this.#find(id).request;
  }

  /** Ids in order of creation. */
  get ids(): readonly string[] {
    return [...this.#containers.keys()];
  }

  async create(request: CreateRequest, signal: AbortSignal): Promise<Container> {
    const { id } = request;
    if (!CONTAINER_ID.test(id)) throw new ClusterError('invalid', `container id "${id}" is none`);
    await this.#enter('create', id, signal);
    if (this.#containers.has(id)) throw new ClusterError('exists', `container ${id} exists already`);
    const pid = this.#nextPid++;
    const container: Container = {
      id,
      state: 'created',
      pid,
      startTime: pid * 10,
      netnsPath: `/proc/${pid}/ns/net`,
      logPath: `/fake/${id}/log`,
      compressesLog: false,
      run: 1,
      pastRuns: [],
      createdAt: this.#clock.now(),
      labels: request.labels,
    };
    this.#containers.set(id, { container, request, ended: withResolvers<Exit>(), startedAt: container.createdAt });
    return container;
  }

  async start(id: string, signal: AbortSignal): Promise<Container> {
    // It may end while it starts; one that has ended before has nothing to start.
    if (this.#find(id).container.state === 'exited') throw new ClusterError('internal', `container ${id} has ended`);
    try {
      await this.#enter('start', id, signal);
    } catch (cause) {
      // As the real one: a command that cannot run has ended with 127.
      if (!signal.aborted) this.end(id, { code: 127 });
      throw cause;
    }
    const pretend = this.#find(id);
    pretend.startedAt = this.#clock.now();
    if (pretend.container.state === 'created') pretend.container = { ...pretend.container, state: 'running' };
    return pretend.container;
  }

  async wait(id: string, signal: AbortSignal): Promise<Exit> {
    return untilAborted(this.#find(id).ended.promise, signal);
  }

  async kill(id: string, signalNumberSent: number): Promise<boolean> {
    const pretend = this.#find(id);
    this.calls.push(`kill ${id} ${signalNumberSent}`);
    if (pretend.container.state === 'exited') return false;
    if (signalNumberSent === SIGKILL) {
      this.end(id, { signal: SIGKILL });
      return true;
    }
    const answer = this.#onSignal(signalNumberSent, id);
    if (answer !== 'ignore') this.end(id, { code: answer.code });
    return true;
  }

  async stop(id: string, request: StopRequest, signal: AbortSignal): Promise<Exit> {
    const pretend = this.#find(id);
    signal.throwIfAborted();
    await this.kill(id, pretend.container.state === 'created' ? SIGKILL : signalNumber(request.stopSignal));
    const cancel = this.#clock.after(request.graceMs, () => this.end(id, { signal: SIGKILL }));
    try {
      return await untilAborted(pretend.ended.promise, signal);
    } finally {
      cancel();
    }
  }

  async remake(request: CreateRequest, signal: AbortSignal): Promise<Container> {
    if (this.#find(request.id).container.state !== 'exited') throw new ClusterError('conflict', 'it has not ended');
    this.#containers.delete(request.id);
    return await this.create(request, signal);
  }

  attach(id: string): Promise<ExecSession> {
    return Promise.reject(new ClusterError('unavailable', `container ${id} cannot be attached to`));
  }

  async exec(id: string, request: ExecRequest, signal: AbortSignal): Promise<ExecResult> {
    const pretend = this.#find(id);
    signal.throwIfAborted();
    this.#mustRun(pretend);
    return this.#onExec(id, request);
  }

  async pause(id: string): Promise<void> {
    this.#turn(id, 'running', 'paused');
  }

  async resume(id: string): Promise<void> {
    this.#turn(id, 'paused', 'running');
  }

  async update(id: string, resources: ResourceUpdate): Promise<void> {
    const pretend = this.#find(id);
    if (pretend.container.state === 'exited') throw new ClusterError('conflict', `container ${id} has ended`);
    this.calls.push(`update ${id} ${JSON.stringify(resources)}`);
  }

  async openExec(id: string, request: OpenExecRequest, signal: AbortSignal): Promise<ExecSession> {
    signal.throwIfAborted();
    this.#mustRun(this.#find(id));
    return this.#onOpenExec(id, request);
  }

  async resize(id: string, { rows, columns }: TerminalSize): Promise<void> {
    const { request } = this.#find(id);
    if (request.template.tty !== true) throw new ClusterError('invalid', `container ${id} has no terminal`);
    this.calls.push(`resize ${id} ${rows} ${columns}`);
  }

  async stats(id: string): Promise<Stats> {
    this.#find(id);
    return IDLE;
  }

  async writable(id: string): Promise<never> {
    this.#find(id);
    throw new ClusterError('unavailable', `container ${id} is pretended: it has no files`);
  }

  async remove(id: string): Promise<void> {
    this.calls.push(`remove ${id}`);
    if (!this.#containers.has(id)) return;
    this.end(id, { signal: SIGKILL });
    this.#containers.delete(id);
  }

  async list(signal: AbortSignal): Promise<readonly Container[]> {
    signal.throwIfAborted();
    return [...this.#containers.values()].map((pretend) => pretend.container);
  }

  #mustRun({ container: { id, state } }: Pretend): void {
    if (state !== 'running') throw new ClusterError('conflict', `container ${id} is not running but ${state}`);
  }

  #turn(id: string, from: 'running' | 'paused', to: 'running' | 'paused'): void {
    const pretend = this.#find(id);
    const { state } = pretend.container;
    if (state !== from) throw new ClusterError('conflict', `container ${id} is not ${from} but ${state}`);
    this.calls.push(`${to === 'paused' ? 'pause' : 'resume'} ${id}`);
    pretend.container = { ...pretend.container, state: to };
  }

  async #enter(call: 'create' | 'start', id: string, signal: AbortSignal): Promise<void> {
    const key = `${call} ${id}`;
    signal.throwIfAborted();
    this.calls.push(key);
    const gate = this.#gates.get(key);
    if (gate !== undefined) await untilAborted(gate.promise, signal);
    const queued = this.#failures.get(key) ?? [];
    if (queued.length === 0) return;
    this.#failures.set(key, queued.slice(1));
    throw queued[0];
  }

  #find(id: string): Pretend {
    const pretend = this.#containers.get(id);
    if (pretend === undefined) throw new ClusterError('not_found', `container ${id} does not exist on this host`);
    return pretend;
  }
}
