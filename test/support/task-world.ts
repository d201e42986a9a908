/** A host in miniature for one task: does at once what the task machine asks for, and lets a test make trouble. */
import { strict as assert } from 'node:assert';
import type { Assignment } from '../../agent/assignment.ts';
import { type Action, next, type Seen, type SeenContainer } from '../../agent/task-machine.ts';
import { endOf, statusFrom } from '../../agent/task-status.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { type Desired, desiredRank, type Run, rank, type TaskStatus } from '../../common/model/task.ts';
import { aHeld } from './agent-rig.ts';

/** More steps without a wait mean that the machine runs in circles. */
const STEPS_MAX = 30;

export type Trouble =
  | { readonly kind: 'desire'; readonly desired: Desired }
  | { readonly kind: 'release' }
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'ready' }
  | { readonly kind: 'unwell' }
  | { readonly kind: 'step fails'; readonly final: boolean }
  | { readonly kind: 'session'; readonly isOpen: boolean }
  | { readonly kind: 'time'; readonly ms: number }
  | { readonly kind: 'agent restarts' }
  | { readonly kind: 'host restarts' };

export class TaskWorld {
  held: Assignment;
  now = 1_000_000;
  /** Containers ever started, and how many ran at once at most. */
  started = 0;
  readonly actions: Action[] = [];
  #status: TaskStatus | undefined;
  #run = 1;
  #runs: readonly Run[] = [];
  #container: SeenContainer = { kind: 'none' };
  #hasImage = false;
  #fault: string | undefined;
  #failNext: { readonly final: boolean } | undefined;
  #retryAt: number | undefined;
  #lostSince: number | undefined;
  #withdrawnAt: number | undefined;
  #drainingSince: number | undefined;

  constructor(held: Assignment = aHeld('t1')) {
    this.held = held;
  }

  get status(): TaskStatus | undefined {
    return this.#status;
  }

  get container(): SeenContainer {
    return this.#container;
  }

  make(trouble: Trouble): void {
    switch (trouble.kind) {
      case 'desire':
        if (desiredRank(trouble.desired) >= desiredRank(this.held.task.desired)) {
          this.held = { ...this.held, task: { ...this.held.task, desired: trouble.desired } };
        }
        break;
      case 'release':
        this.held = { ...this.held, released: true };
        break;
      case 'exit':
        this.#end({ code: trouble.code, signal: null });
        break;
      case 'ready':
        if (this.#container.kind === 'running') this.#container = { ...this.#container, ready: true };
        break;
      case 'unwell':
        if (this.#container.kind === 'running') this.#fault ??= 'unhealthy: x';
        break;
      case 'step fails':
        this.#failNext = { final: trouble.final };
        break;
      case 'session':
        this.#lostSince = trouble.isOpen ? undefined : (this.#lostSince ?? this.now);
        break;
      case 'time':
        this.now += trouble.ms;
        break;
      case 'agent restarts':
        this.#restartAgent();
        break;
      case 'host restarts':
        this.#restartHost();
        break;
    }
  }

  /** Carries out steps until there is nothing to do but wait. */
  settle(): void {
    for (let steps = 0; ; steps += 1) {
      assert(steps < STEPS_MAX, `the machine runs in circles: ${this.actions.slice(-6).map((a) => a.kind)}`);
      const action = next(this.held, this.#seen(), this.#status, this.now);
      this.actions.push(action);
      if (action.kind === 'end') return;
      if (action.kind === 'wait') {
        assert(action.until === undefined || action.until > this.now, 'it waits for what is past');
        return;
      }
      this.#perform(action);
    }
  }

  #perform(action: Action): void {
    const isBuilding = ['pull', 'create', 'attach', 'start'].includes(action.kind);
    if (isBuilding && this.#failNext !== undefined) {
      if (this.#failNext.final) this.#fault = `${action.kind} failed`;
      else this.#retryAt = this.now + 1_000;
      this.#failNext = undefined;
      return;
    }
    this.#retryAt = undefined;
    switch (action.kind) {
      case 'report':
        this.#report(action);
        break;
      case 'pull':
        this.#hasImage = true;
        break;
      case 'create':
        assert(this.#hasImage, 'an image is there');
        assert(this.#container.kind === 'none', 'nothing of the task runs when a container is made');
        this.#container = { kind: 'created', attached: false };
        break;
      case 'attach':
        assert(this.#container.kind === 'created');
        this.#container = { kind: 'created', attached: true };
        break;
      case 'start':
        assert(this.#container.kind === 'created' && this.#container.attached, 'it has its network');
        assert(desiredRank(this.held.task.desired) < desiredRank('shutdown'), 'nothing starts that is to go');
        this.started += 1;
        this.#runs = [...this.#runs, { number: this.#run, startedAt: this.now }];
        this.#container = { kind: 'running', pid: 1, ready: false };
        break;
      case 'stop':
        assert(this.#container.kind === 'running');
        this.#end({ code: null, signal: 15 });
        break;
      case 'detach':
        assert(this.#container.kind === 'exited');
        this.#container = { ...this.#container, attached: false };
        break;
      case 'discard':
        assert(this.#container.kind === 'created', 'only what never ran is thrown away');
        this.#container = { kind: 'none' };
        break;
      case 'run-again':
        assert(this.#lostSince !== undefined, 'with a session every restart is the manager decision');
        assert(this.#container.kind === 'exited', 'the last run has ended');
        this.#run += 1;
        this.#container = { kind: 'none' };
        this.#fault = undefined;
        this.#withdrawnAt = undefined;
        break;
      case 'withdraw':
        this.#withdrawnAt = this.now;
        break;
      case 'drain':
        this.#drainingSince = this.now;
        break;
      case 'wait':
      case 'end':
        break;
    }
  }

  #report({ said }: Extract<Action, { readonly kind: 'report' }>): void {
    const before = this.#status;
    if (before !== undefined) assert(rank(said.state) >= rank(before.state), `${before.state} -> ${said.state}`);
    const facts = { taskId: this.held.task.id, nodeId: 'n1' as NodeId, at: this.now, runs: this.#runs };
    this.#status = statusFrom(said, before, { ...facts, container: this.#container });
  }

  #seen(): Seen {
    const lostSince = this.#lostSince;
    return {
      run: this.#run,
      hasImage: this.#hasImage,
      container: this.#container,
      runs: this.#runs,
      manager:
        lostSince === undefined ? { kind: 'session' } : { kind: 'lost', since: lostSince, failoverAfterMs: 15_000 },
      ...(this.#fault === undefined ? {} : { fault: this.#fault }),
      ...(this.#retryAt === undefined ? {} : { retryAt: this.#retryAt }),
      ...(this.#withdrawnAt === undefined ? {} : { withdrawnAt: this.#withdrawnAt }),
      ...(this.#drainingSince === undefined ? {} : { drainingSince: this.#drainingSince, openConnections: 0 }),
    };
  }

  #end(how: { readonly code: number | null; readonly signal: number | null }): void {
    if (this.#container.kind !== 'running') return;
    const exit = { ...how, oomKilled: false, startedAt: this.now, finishedAt: this.now };
    this.#container = { kind: 'exited', exit, attached: true };
    this.#runs = this.#runs.map((run) => (run.number === this.#run ? endOf(run, exit) : run));
  }

  /** What was only in its memory is gone. */
  #restartAgent(): void {
    this.#hasImage = false;
    this.#fault = undefined;
    this.#retryAt = undefined;
    this.#withdrawnAt = undefined;
    this.#drainingSince = undefined;
    this.#lostSince ??= this.now;
    if (this.#container.kind === 'created') this.#container = { kind: 'created', attached: false };
    if (this.#container.kind === 'running') {
      this.#container = { ...this.#container, ready: this.#status?.state === 'running' && this.#status.healthy };
    }
  }

  #restartHost(): void {
    this.#end({ code: null, signal: null });
    this.#restartAgent();
    if (this.#container.kind === 'created') this.#container = { kind: 'none' };
  }
}
