/**
 * Carries out what the task machine decides for one task, one step at a time.
 *
 * Comes in: assignments, contact gained and lost, and what the container does. Goes out: calls to runtime, images and
 * network, and statuses. It decides nothing but when to try a failed step again. Stopping the runner leaves the container.
 */
import { ClusterError, explain, toClusterError } from '../common/errors.ts';
import type { Instant } from '../common/model/ids.ts';
import { isTerminal, type TaskStatus } from '../common/model/task.ts';
import type { Assignment } from './assignment.ts';
import { Bell } from './bell.ts';
import { attachmentOf, containerId, createRequest, noteOf, stopRequest } from './container-request.ts';
import { ContainerWatch } from './container-watch.ts';
import { readinessOf } from './health/readiness.ts';
import type { UnpackedImage } from './image/image.ts';
import { RunLedger } from './run-ledger.ts';
import type { RunnerTools } from './runner-tools.ts';
import { inPlaceRule } from './runs.ts';
import type { Container, Exit } from './runtime/runtime.ts';
import type { TaskRecord } from './state.ts';
import { StatusKeeper } from './status-keeper.ts';
import { type Action, isLeaving, next, type Said, type Seen, type SeenContainer } from './task-machine.ts';
import { adoptionOf, LOST_EXIT, seenFrom } from './task-status.ts';

/** A step that failed for a passing reason is tried again after this. Source: swarmkit agent, task manager. */
export const RETRY_MS = 1_000;

/** Why a step was given up: the task is to go. */
const INTERRUPTED = new ClusterError('unavailable', 'the task is to go');

export class TaskRunner {
  readonly #tools: RunnerTools;
  readonly #bell = new Bell();
  readonly #stop = new AbortController();
  #step = new AbortController();
  #held: Assignment;
  readonly #status: StatusKeeper;
  readonly #runs: RunLedger;
  #container: SeenContainer = { kind: 'none' };
  #handle: Container | undefined;
  #watch: ContainerWatch | undefined;
  #image: UnpackedImage | undefined;
  #fault: string | undefined;
  #retryAt: Instant | undefined;
  #withdrawnAt: Instant | undefined;
  #drainingSince: Instant | undefined;
  #connections: number | undefined;
  #isForgotten = false;
  /** In a run of which nobody has heard: health and readiness begin anew, their time too. */
  #isUnproven = false;

  /** @param survivors  this task's containers that were found on the host */
  constructor(tools: RunnerTools, record: TaskRecord, survivors: readonly Container[]) {
    this.#tools = tools;
    this.#held = record.held;
    this.#status = new StatusKeeper(tools, record.status);
    this.#runs = new RunLedger(record.status?.runs ?? []);
    this.#adopt(survivors);
  }

  get held(): Assignment {
    return this.#held;
  }

  /** What was last said; undefined before `accepted`. */
  get status(): TaskStatus | undefined {
    return this.#status.last;
  }

  /** The newest container; undefined before the first, and between one that is gone and the next. */
  get containerId(): string | undefined {
    return this.#container.kind === 'none' ? undefined : this.#handle?.id;
  }

  /** Has a container that is linked to the network and is to stay so. */
  get isAttached(): boolean {
    return this.#container.kind === 'running' || (this.#container.kind === 'created' && this.#container.attached);
  }

  /** May get connections at this moment. */
  get serves(): boolean {
    const { last } = this.#status;
    return last?.state === 'running' && last.healthy && this.#withdrawnAt === undefined;
  }

  /** Takes a newer assignment. What is wanted never moves back. */
  update(held: Assignment): void {
    const wasLeaving = isLeaving(this.#held.task);
    this.#held = wasLeaving && !isLeaving(held.task) ? { ...held, task: this.#held.task } : held;
    if (!wasLeaving && isLeaving(this.#held.task)) this.#step.abort(INTERRUPTED);
    this.#bell.ring();
  }

  /** Lets the task go in good order, then removes its containers, logs and record; `work` ends after that. */
  forget(): void {
    this.#isForgotten = true;
    this.update({ ...this.#held, released: true, task: { ...this.#held.task, desired: 'remove' } });
  }

  /** Removes the containers of a task that has ended, and their logs; how it ended is still known. False before that. */
  async discard(): Promise<boolean> {
    const { last } = this.#status;
    if (
      last === undefined ||
      !isTerminal(last.state) ||
      this.#container.kind !== 'exited' ||
      this.#container.attached
    ) {
      return false;
    }
    await this.#removeRuns();
    this.#container = { kind: 'none' };
    return true;
  }

  /** Contact with a manager was gained or lost. */
  contactChanged(): void {
    this.#bell.ring();
  }

  /** Ends `work` and leaves the container as it is. */
  stop(): void {
    const reason = new ClusterError('unavailable', 'the agent is stopping');
    this.#stop.abort(reason);
    this.#step.abort(reason);
    this.#bell.ring();
  }

  /** Works until the task is forgotten and gone, or `stop` is called. Never rejects. */
  async work(): Promise<void> {
    if (this.#container.kind === 'running') this.#beginWatch(this.#handle as Container);
    while (!this.#stop.signal.aborted) {
      const action = next(this.#held, this.#seen(), this.#status.last, this.#tools.clock.now());
      if (action.kind === 'end' && this.#isForgotten) {
        if (await this.#erase()) return;
      } else {
        await this.#carryOut(action);
      }
    }
    this.#watch?.end();
  }

  #adopt(survivors: readonly Container[]): void {
    const { last } = this.#status;
    const adopted = adoptionOf(survivors, this.#runs.all, last);
    if (adopted !== undefined && adopted.run >= this.#runs.number) {
      this.#runs.adopt(adopted);
      this.#handle = adopted.container;
      this.#container = adopted.seen;
      this.#isUnproven = adopted.isFurther;
      return;
    }
    const wasStarted = last?.state === 'starting' || last?.state === 'running';
    if (!wasStarted) return;
    const now = this.#tools.clock.now();
    const exit = { ...LOST_EXIT, startedAt: last?.at ?? now, finishedAt: now };
    this.#container = { kind: 'exited', exit, attached: false };
    this.#runs.end(exit);
  }

  #seen(): Seen {
    return {
      run: this.#runs.number,
      hasImage: this.#image !== undefined,
      container: this.#container,
      runs: this.#runs.all,
      manager: this.#tools.contact(),
      ...(this.#fault === undefined ? {} : { fault: this.#fault }),
      ...(this.#retryAt === undefined ? {} : { retryAt: this.#retryAt }),
      ...(this.#withdrawnAt === undefined ? {} : { withdrawnAt: this.#withdrawnAt }),
      ...(this.#drainingSince === undefined ? {} : { drainingSince: this.#drainingSince }),
      ...(this.#connections === undefined ? {} : { openConnections: this.#connections }),
    };
  }

  async #carryOut(action: Action): Promise<void> {
    const { clock, log } = this.#tools;
    if (this.#step.signal.aborted && !this.#stop.signal.aborted) this.#step = new AbortController();
    const startedAt = clock.now();
    try {
      await this.#perform(action, this.#step.signal);
      if (action.kind === 'wait' || action.kind === 'end') return;
      this.#retryAt = undefined;
      const state = this.#status.last?.state;
      log.debug({ taskId: this.#held.task.id, step: action.kind, state, ms: clock.now() - startedAt }, 'step done');
    } catch (cause) {
      if (this.#stop.signal.aborted || cause === INTERRUPTED) return;
      const taskId = this.#held.task.id;
      const error = toClusterError(cause);
      const isPassing = error.code === 'unavailable' || error.code === 'exhausted';
      log.warn({ taskId, step: action.kind, cause }, 'a step of a task failed');
      if (!isBuilding(action)) {
        this.#status.mention(explain(error));
        await clock.sleep(RETRY_MS, this.#stop.signal).catch(() => {});
      } else if (isPassing && action.kind !== 'start') {
        this.#retryAt = clock.now() + RETRY_MS;
        this.#status.mention(`${action.kind}: ${explain(error)}; trying again`);
      } else {
        this.#fault = explain(error);
      }
    }
  }

  async #perform(action: Action, signal: AbortSignal): Promise<void> {
    const { runtime, images, network, clock } = this.#tools;
    const { task, revision } = this.#held;
    const id = containerId(task.id, this.#runs.madeFor);
    switch (action.kind) {
      case 'report':
        return await this.#say(action.said);
      case 'pull': {
        const { image, imageDigest } = revision.template.container;
        if (imageDigest === undefined)
          throw new ClusterError('invalid', `image "${image}" was not resolved to a digest`);
        this.#status.mention(`pulling ${image}`);
        this.#image = await images.ensure(image, imageDigest, signal);
        return;
      }
      case 'create':
        return await this.#create(id, signal);
      case 'attach': {
        const attachment = attachmentOf(this.#held);
        if (attachment === undefined) throw new ClusterError('invalid', `task ${task.id} was given no address`);
        await network.attach(attachment, this.#handle?.pid ?? 0);
        this.#container = { kind: 'created', attached: true };
        return;
      }
      case 'start':
        return await this.#start(id, signal);
      case 'withdraw':
        await network.withdraw(task.id);
        this.#withdrawnAt = clock.now();
        return this.#status.announce();
      case 'drain':
        this.#drainingSince = clock.now();
        return this.#watch?.drain();
      case 'stop':
        return this.#onExit(
          await runtime.stop(id, stopRequest(this.#held, this.#handle as Container), this.#stop.signal),
        );
      case 'detach':
        await this.#detach();
        if (this.#container.kind === 'exited') this.#container = { ...this.#container, attached: false };
        return;
      case 'discard':
        await runtime.remove(id);
        await this.#detach();
        this.#container = { kind: 'none' };
        return;
      case 'run-again':
        this.#runs.next();
        this.#container = { kind: 'none' };
        this.#fault = undefined;
        this.#withdrawnAt = undefined;
        return;
      case 'wait':
        return await this.#bell.wait(clock, action.until);
      case 'end':
        return await this.#bell.wait(clock);
    }
  }

  async #create(id: string, signal: AbortSignal): Promise<void> {
    const { runtime, filesFor, failoverAfterMs } = this.#tools;
    const files = await filesFor(this.#held);
    const rule = inPlaceRule(this.#held, this.#runs.number, failoverAfterMs());
    const request = { ...createRequest(this.#held, this.#runs.number, this.#image as UnpackedImage, files), ...rule };
    try {
      this.#handle = await runtime.create(request, signal);
    } catch (cause) {
      if (toClusterError(cause).code !== 'exists') throw cause;
      // Left by an agent that died while it made it; it never ran, else it had been adopted.
      await runtime.remove(id);
      this.#handle = await runtime.create(request, signal);
    }
    this.#container = { kind: 'created', attached: false };
  }

  async #start(id: string, signal: AbortSignal): Promise<void> {
    const container = await this.#tools.runtime.start(id, signal);
    this.#handle = container;
    this.#runs.begin(this.#tools.clock.now());
    this.#container = seenFrom(container, undefined);
    if (container.exit !== undefined) this.#runs.end(container.exit);
    if (this.#container.kind === 'running') this.#beginWatch(container);
    const { last } = this.#status;
    if (last?.state !== 'running') return;
    // A further run: told, and kept, before it is ready.
    const { message, healthy } = last;
    await this.#say({ state: 'running', message, healthy });
  }

  #beginWatch(container: Container): void {
    const { clock } = this.#tools;
    const { template } = this.#held.revision;
    const wasReady = this.#container.kind === 'running' && this.#container.ready;
    this.#watch = new ContainerWatch(
      {
        containerId: container.id,
        address: this.#held.task.address ?? '',
        rule: readinessOf(this.#held, noteOf(container.labels)?.imageCheck),
        startedAt: this.#isUnproven ? clock.now() : (this.#runs.all.at(-1)?.startedAt ?? container.createdAt),
        startTimeoutMs: template.container.startTimeoutMs,
        wasReady,
      },
      this.#tools,
      {
        onReady: () => this.#onReady(),
        onUnwell: (why) => {
          this.#fault = why;
          this.#bell.ring();
        },
        onExit: (exit) => this.#onExit(exit),
        onConnections: (open) => {
          this.#connections = open;
          this.#bell.ring();
        },
      },
    );
  }

  #onReady(): void {
    if (this.#container.kind === 'running') this.#container = { ...this.#container, ready: true };
    this.#bell.ring();
  }

  #onExit(exit: Exit): void {
    this.#watch?.end();
    if (this.#container.kind !== 'running') return;
    this.#container = { kind: 'exited', exit, attached: true };
    this.#runs.end(exit);
    this.#bell.ring();
  }

  #say(said: Said): Promise<void> {
    return this.#status.say(said, { held: this.#held, runs: this.#runs.all, container: this.#container });
  }

  /** Before the network was ever taken over there is nothing to forget. */
  async #detach(): Promise<void> {
    try {
      await this.#tools.network.detach(this.#held.task.id);
    } catch (cause) {
      if (toClusterError(cause).code !== 'unavailable') throw cause;
    }
  }

  async #removeRuns(): Promise<void> {
    const { id } = this.#held.task;
    for (let run = 1; run <= this.#runs.number; run += 1) await this.#tools.runtime.remove(containerId(id, run));
  }

  /** True when everything of the task is gone. */
  async #erase(): Promise<boolean> {
    const { drop, clock, log } = this.#tools;
    const { id } = this.#held.task;
    try {
      await this.#removeRuns();
      await this.#detach();
      await drop(id);
      return true;
    } catch (cause) {
      log.warn({ taskId: id, cause }, 'a task could not be removed');
      await clock.sleep(RETRY_MS, this.#stop.signal).catch(() => {});
      return false;
    }
  }
}

function isBuilding(action: Action): boolean {
  return ['pull', 'create', 'attach', 'start'].includes(action.kind);
}
