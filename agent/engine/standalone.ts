/**
 * One container without a service. Comes in: a user's verbs, one after the other, and what the container does. Goes out: calls to
 * runtime, images and network, and its record. What follows an end restart-policy.ts decides. The container outlives this object.
 */
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { untilAborted } from '../../common/iterate.ts';
import { isAbort } from '../../common/lifecycle.ts';
import type { ContainerSpec } from '../../common/model/container.ts';
import { Turns } from '../../common/turns.ts';
import type { Attachment } from '../network/network.ts';
import { codeOf } from '../runtime/attached.ts';
import type { ExecSession } from '../runtime/exec.ts';
import { exitOf } from '../runtime/exec-exit.ts';
import type { Container, Exit } from '../runtime/runtime.ts';
import { signalNumber } from '../runtime/signal.ts';
import { type HealthWatch, healthOf } from './health-watch.ts';
import { detached, ended, launch } from './launch.ts';
import type { ContainerRecord } from './record.ts';
import { attachmentOf, graceOf, imageHealth, LOST, stopSignalOf } from './request.ts';
import { afterEnd, afterReturn } from './restart-policy.ts';
import { RestartTimer } from './restart-timer.ts';
import { Rings } from './rings.ts';
import type { StandaloneState, StandaloneTools, StopWish } from './standalone-tools.ts';

const SIGKILL = 9;
/** Docker's, for what could not be started for another reason than its command. */
const NOT_STARTED = 125;

export class Standalone {
  readonly #tools: StandaloneTools;
  readonly #turns = new Turns(1);
  readonly #stop = new AbortController();
  /** Rung by every change. */
  readonly #bell = new Rings();
  #record: ContainerRecord;
  #container: Container | undefined;
  #isPaused = false;
  readonly #restart: RestartTimer;
  #isGone = false;
  /** Of its runs, seen by this object. */
  #ends = 0;
  #health: HealthWatch | undefined;

  /** @param found  its container, when it is on the host */
  constructor(tools: StandaloneTools, record: ContainerRecord, found?: Container) {
    this.#tools = tools;
    this.#restart = new RestartTimer(tools.clock);
    this.#record = record;
    this.#container = found;
  }

  get record(): ContainerRecord {
    return this.#record;
  }

  get state(): StandaloneState {
    if (this.#restart.isSet) return 'restarting';
    const state = this.#container?.state;
    if (state === 'running' || state === 'paused') return this.#isPaused ? 'paused' : 'running';
    return this.#record.startedAt === 0 && this.#record.finishedAt === 0 ? 'created' : 'exited';
  }

  get isRunning(): boolean {
    return this.state === 'running' || this.state === 'paused';
  }

  /** Of its first process; 0 = it does not run. */
  get pid(): number {
    return this.isRunning ? (this.#container?.pid ?? 0) : 0;
  }

  get logPath(): string {
    return this.#container?.logPath ?? '';
  }

  get health(): string {
    return this.isRunning ? (this.#health?.verdict ?? '') : '';
  }

  /** Its place in the network while it runs. */
  get attachment(): Attachment | undefined {
    return this.isRunning ? attachmentOf(this.#record) : undefined;
  }

  /** Takes up what an earlier agent left. */
  async adopt(): Promise<void> {
    const found = this.#container;
    const { startedAt, finishedAt } = this.#record;
    if (found === undefined) {
      if (startedAt <= finishedAt) return await this.#goOn();
      return await this.#onEnd({ ...LOST, startedAt, finishedAt: this.#tools.clock.now() });
    }
    const newer = Math.max(0, found.run - this.#record.run);
    this.#isPaused = found.state === 'paused';
    if (newer > 0) await this.#change({ restarts: this.#record.restarts + newer, run: found.run });
    if (found.state === 'created') {
      await this.#tools.runtime.stop(found.id, { stopSignal: '', graceMs: 0 }, this.#stop.signal);
      this.#container = { ...found, state: 'exited' };
      return await this.#goOn();
    }
    if (found.exit === undefined) {
      await this.#change({ startedAt: (found.runStartedAt ?? startedAt) || found.createdAt, hasRun: true });
      return this.#watch(found);
    }
    if (finishedAt < startedAt || newer > 0) await this.#onEnd(found.exit);
    else await this.#goOn();
  }

  /** Starts it unless it runs; with `types` given, attached before. @throws ClusterError why it cannot run */
  start(signal: AbortSignal, attach?: { readonly types: boolean }): Promise<ExecSession | undefined> {
    return this.#inTurn(async () => {
      this.#mustBeHere();
      if (this.isRunning) return attach === undefined ? undefined : await this.#attached(attach, signal);
      return await this.#startAnew(signal, attach);
    });
  }

  /** @throws ClusterError `conflict` when it does not run */
  attach(options: { readonly types: boolean }, signal: AbortSignal): Promise<ExecSession> {
    this.#mustBeHere();
    if (!this.isRunning) throw this.#notRunning();
    return this.#attached(options, signal);
  }

  /** @throws ClusterError `invalid` for what is no signal */
  stop(wish: StopWish, signal: AbortSignal): Promise<void> {
    return this.#inTurn(() => this.#end(wish, signal));
  }

  restart(wish: StopWish, signal: AbortSignal): Promise<void> {
    return this.#inTurn(async () => {
      await this.#end(wish, signal);
      await this.#startAnew(signal);
    });
  }

  /** @throws ClusterError `conflict` when it does not run, `invalid` for what is no signal */
  async kill(signal: string): Promise<void> {
    const number = signal === '' ? SIGKILL : signalNumber(signal);
    this.#mustBeHere();
    if (!this.isRunning && this.state !== 'restarting') throw this.#notRunning();
    // As Docker: who asks for its end that way does not want it back.
    const isEnd = number === SIGKILL || number === signalNumber(this.#stopSignal);
    if (isEnd) await this.#change({ wanted: false });
    if (this.state !== 'restarting') return await this.#signal(number);
    // The restart may be under way: then what came of it gets the signal.
    await this.#inTurn(async () => {
      if (this.isRunning) await this.#signal(number);
      else if (isEnd) this.#forgetRestart();
    });
  }

  async #signal(number: number): Promise<void> {
    await this.#tools.runtime.kill(this.#record.id, number);
    if (number === SIGKILL) await this.settled(this.#stop.signal);
  }

  pause(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isPaused) throw new ClusterError('conflict', `container ${this.#name} is already paused`);
      if (!this.isRunning) throw this.#notRunning();
      await this.#tools.runtime.pause(this.#record.id);
      this.#isPaused = true;
    });
  }

  resume(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#isPaused) throw new ClusterError('conflict', `container ${this.#name} is not paused`);
      await this.#tools.runtime.resume(this.#record.id);
      this.#isPaused = false;
    });
  }

  /** @throws ClusterError `conflict` for one that runs, unless `force` */
  remove({ force, volumes = false }: { readonly force: boolean; readonly volumes?: boolean }): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isGone) return;
      if (!force && (this.isRunning || this.state === 'restarting')) {
        throw new ClusterError('conflict', `cannot remove container ${this.#name}: it is running`, {
          hint: 'stop it first, or add --force',
        });
      }
      this.#forgetRestart();
      await this.#change({ wanted: false });
      await this.#erase(volumes);
    });
  }

  /** Changes what it is called and made from when it is made next; what runs is the caller's to change. */
  respec(spec: ContainerSpec): Promise<void> {
    return this.#change({ spec });
  }

  /** Resolves with its exit code: at once when it does not run, else after its next end, whatever its policy makes of that. */
  async wait(signal: AbortSignal): Promise<{ readonly code: number; readonly error: string }> {
    const ends = this.#ends;
    const isOver = (): boolean => this.#ends > ends || (!this.isRunning && this.state !== 'restarting');
    await this.#until(isOver, signal);
    const { exitCode: code, error } = this.#record;
    return { code, error };
  }

  /** Resolves once an end that has happened is known here: nothing is told of it before. */
  settled(signal: AbortSignal): Promise<void> {
    return this.#until(() => !this.isRunning, signal);
  }

  /** Ends the watch, not the container. */
  release(): void {
    this.#stop.abort(new ClusterError('unavailable', 'the agent is stopping'));
    this.#restart.forget();
    this.#health?.end();
    this.#bell.ring();
  }

  /** A user wants it to run. */
  async #startAnew(signal: AbortSignal, attach?: { readonly types: boolean }): Promise<ExecSession | undefined> {
    this.#restart.reset();
    await this.#change({ wanted: true, restarts: 0, run: 1 });
    try {
      return await this.#begin(signal, attach);
    } catch (cause) {
      await this.#change({ wanted: false });
      throw cause;
    }
  }

  async #begin(signal: AbortSignal, attach?: { readonly types: boolean }): Promise<ExecSession | undefined> {
    const { runtime, network, clock } = this.#tools;
    const { id } = this.#record;
    let session: ExecSession | undefined;
    try {
      const { container, address } = await launch(this.#tools, this.#record, this.#container, signal);
      this.#container = container;
      await this.#change({ address, hasRun: true, run: 1, error: '' });
      const attachment = attachmentOf(this.#record);
      if (attachment !== undefined) await network.attach(attachment, container.pid);
      session = attach === undefined ? undefined : await this.#attached(attach, signal);
      // Should it have ended by now, the watch will say so.
      this.#container = { ...(await runtime.start(id, signal)), state: 'running' };
      await this.#change({ startedAt: clock.now(), finishedAt: 0, exitCode: 0, oomKilled: false });
    } catch (cause) {
      session?.kill();
      await this.#onFailure(cause);
      throw cause;
    }
    this.#isPaused = false;
    // Only now: between two runs it is neither running nor over.
    this.#restart.begun();
    this.#watch(this.#container);
    return session;
  }

  async #attached({ types }: { readonly types: boolean }, signal: AbortSignal): Promise<ExecSession> {
    const isOpen = this.#record.spec.input !== undefined;
    return await this.#tools.runtime.attach(this.#record.id, { types: types && isOpen }, signal);
  }

  /** Nothing of a start that failed goes on; what it wrote before stays. */
  async #onFailure(cause: unknown): Promise<void> {
    this.#restart.begun();
    this.#container = await ended(this.#tools, this.#record, this.#container, this.#stop.signal);
    await this.#change({
      error: explain(toClusterError(cause)),
      exitCode: exitOf(cause)?.code ?? NOT_STARTED,
      ...(this.#record.startedAt === 0 ? {} : { finishedAt: this.#tools.clock.now() }),
    });
  }

  async #end({ graceMs, stopSignal = this.#stopSignal }: StopWish, signal: AbortSignal): Promise<void> {
    this.#mustBeHere();
    signalNumber(stopSignal);
    await this.#change({ wanted: false });
    this.#forgetRestart();
    if (!this.isRunning) return;
    const grace = graceMs ?? this.#record.spec.template.container.stopGraceMs;
    this.#isPaused = false;
    await this.#tools.runtime.stop(this.#record.id, { stopSignal, graceMs: graceOf(grace) }, signal);
    await this.settled(signal);
  }

  /** What asks it to go unless a user says otherwise. */
  get #stopSignal(): string {
    return this.#record.spec.template.container.stopSignal ?? stopSignalOf(this.#container);
  }

  #watch(container: Container): void {
    const { runtime, log } = this.#tools;
    this.#health = healthOf(this.#record, imageHealth(container), this.#tools);
    runtime
      .wait(container.id, this.#stop.signal)
      .then((exit) => this.#onEnd(exit))
      .catch((cause: unknown) => {
        if (!isAbort(cause, this.#stop.signal))
          log.error({ containerId: container.id, cause }, 'watching a container broke off');
      });
  }

  async #onEnd(exit: Exit): Promise<void> {
    const { log } = this.#tools;
    this.#health?.end();
    this.#health = undefined;
    await detached(this.#tools, this.#record).catch((cause: unknown) => {
      log.warn({ containerId: this.#record.id, cause }, 'a container’s link could not be removed');
    });
    const exitCode = codeOf(exit);
    const { wanted, restarts, spec, startedAt } = this.#record;
    const end = { exitCode, ranMs: exit.finishedAt - startedAt, wasStopped: !wanted, restarts };
    const verdict = afterEnd(spec, { ...end, lastDelayMs: this.#restart.lastDelayMs });
    if (this.#container !== undefined) this.#container = { ...this.#container, state: 'exited', exit };
    this.#isPaused = false;
    this.#ends += 1;
    if (verdict.kind === 'again') this.#restart.set(verdict.delayMs, () => this.#again());
    await this.#change({ exitCode, oomKilled: exit.oomKilled, finishedAt: exit.finishedAt, error: '' });
    if (verdict.kind === 'rest') await this.#rest();
  }

  /** What was to follow its end when the last agent went. */
  async #goOn(): Promise<void> {
    const { spec, startedAt, wanted, exitCode, restarts } = this.#record;
    if (startedAt === 0) return;
    const verdict = afterReturn(spec, { exitCode, wasStopped: !wanted, restarts });
    if (verdict.kind === 'rest') return await this.#rest();
    this.#restart.set(verdict.delayMs, () => this.#again());
    await this.#change({ wanted: true });
  }

  async #rest(): Promise<void> {
    if (!this.#record.spec.autoRemove) return;
    await this.#inTurn(() => this.#erase(true)).catch((cause: unknown) => {
      this.#tools.log.warn({ containerId: this.#record.id, cause }, 'a container could not be removed after its end');
    });
  }

  #again(): void {
    const { log } = this.#tools;
    const work = this.#inTurn(async () => {
      if (!this.#restart.isSet || this.#isGone || this.#stop.signal.aborted) return;
      await this.#change({ restarts: this.#record.restarts + 1, run: 1 });
      await this.#begin(this.#stop.signal).catch((cause: unknown) => this.#notAgain(cause));
    });
    work.catch((cause: unknown) => {
      if (!isAbort(cause, this.#stop.signal))
        log.error({ containerId: this.#record.id, cause }, 'the restart of a container broke off');
    });
  }

  /** What passes is tried again, unless a user has stopped it meanwhile; what does not is in its record. */
  async #notAgain(cause: unknown): Promise<void> {
    if (isAbort(cause, this.#stop.signal)) throw cause;
    this.#tools.log.warn({ containerId: this.#record.id, cause }, 'a container could not be run again');
    const { code } = toClusterError(cause);
    const passes = code === 'unavailable' || code === 'exhausted';
    if (passes && this.#record.wanted) this.#restart.setAgain(() => this.#again());
    else await this.#change({ wanted: false });
  }

  #forgetRestart(): void {
    this.#restart.forget();
    this.#bell.ring();
  }

  async #erase(withVolumes: boolean): Promise<void> {
    if (this.#isGone) return;
    await this.#tools.runtime.remove(this.#record.id);
    await detached(this.#tools, this.#record);
    this.#isGone = true;
    await this.#tools.gone(this.#record.id);
    if (withVolumes) await this.#tools.forget(this.#record.spec.mounts);
    this.#bell.ring();
  }

  async #until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    const ending = AbortSignal.any([signal, this.#stop.signal]);
    while (!isSo() && !this.#isGone) await untilAborted(this.#bell.heard(), ending);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.run(work, this.#stop.signal);
  }

  async #change(part: Partial<ContainerRecord>): Promise<void> {
    this.#record = { ...this.#record, ...part };
    if (!this.#isGone) await this.#tools.keep(this.#record);
    this.#bell.ring();
  }

  #mustBeHere(): void {
    if (this.#isGone) throw new ClusterError('not_found', `no such container: ${this.#name}`);
  }

  #notRunning(): ClusterError {
    return new ClusterError('conflict', `container ${this.#name} is not running`, { hint: 'see `covey ps -a`' });
  }

  get #name(): string {
    return this.#record.spec.name;
  }
}
