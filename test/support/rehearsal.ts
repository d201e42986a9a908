/**
 * Plays scenarios on a built cluster: the real reconcilers, pretend agents that do as their image says, and virtual time.
 * Smaller than the simulator of test/sim, without faults or chance: what it is for is one scenario, told in a few lines.
 */
import { LOST_AFTER_MS } from '../../common/model/cluster.ts';
import type { Instant, NodeId, TaskId } from '../../common/model/ids.ts';
import { revisionKey } from '../../common/model/service.ts';
import { isTerminal, isWanted, type Task, type TaskStatus } from '../../common/model/task.ts';
import { liveness } from '../../manager/nodes/liveness.ts';
import { enforce } from '../../manager/orchestrator/enforce.ts';
import { reap } from '../../manager/orchestrator/reap.ts';
import { replicated } from '../../manager/orchestrator/replicated.ts';
import { revisions } from '../../manager/orchestrator/revisions.ts';
import type { Reconciler } from '../../manager/reconcile.ts';
import { schedule } from '../../manager/scheduler/schedule.ts';
import { update } from '../../manager/updater/update.ts';
import { behaviourOf } from '../sim/images.ts';
import { Timeline } from '../sim/timeline.ts';
import type { ClusterBuilder } from './cluster-builder.ts';

interface Container {
  phase: 'created' | 'running' | 'stopping' | 'ended';
}

/** Rounds of decisions at one instant; more means that two reconcilers undo each other's work. */
const ROUNDS_MAX = 60;
const PREPARE_MS = 50;
const STOP_MS = 50;

export class Rehearsal {
  readonly world: ClusterBuilder;
  /** What the rollout said, in order, each once: `0 updating`. */
  readonly states: string[] = [];
  /** Slots in which two containers ran at once on nodes that are heard. */
  readonly overlaps = new Set<string>();
  /** Fewest tasks serving and most tasks that are wanted and not held since `watch`. */
  fewest = Number.POSITIVE_INFINITY;
  most = 0;
  commits = 0;
  readonly #timeline = new Timeline(0);
  readonly #containers = new Map<TaskId, Container>();
  readonly #cut = new Set<NodeId>();
  readonly #reconcilers: readonly Reconciler[];
  #made = 0;
  #watched: string | undefined;

  constructor(world: ClusterBuilder) {
    this.world = world;
    this.#reconcilers = [
      replicated,
      update,
      reap,
      revisions,
      enforce,
      liveness({ incarnation: 1, reign: 1 }),
      schedule as Reconciler,
    ];
    world.store.onBatch((batch) => {
      for (const change of batch.changes) {
        if (change.kind !== 'rollout' || change.after === undefined) continue;
        if (change.before?.state === change.after.state && change.before.target === change.after.target) continue;
        this.states.push(`${this.now} ${change.after.state}`);
      }
    });
  }

  get now(): Instant {
    return this.#timeline.now;
  }

  /** The states a rollout went through, without their times. */
  get path(): string {
    return this.states.map((state) => state.split(' ')[1]).join(' ');
  }

  /** Lets time pass. */
  run(ms: number): this {
    this.#settle();
    this.#timeline.runUntil(this.now + ms);
    return this;
  }

  /** From now on the extremes of this service are kept. */
  watch(service: string): this {
    this.#watched = service;
    this.fewest = Number.POSITIVE_INFINITY;
    this.most = 0;
    return this;
  }

  /** The running tasks: `web.1 r2 n3`, by slot. */
  running(service: string): string {
    return this.#tasks(service)
      .filter((task) => isWanted(task) && this.#status(task)?.state === 'running')
      .map((task) => `${service}.${task.slot} r${task.revision} ${task.nodeId}`)
      .sort()
      .join(', ');
  }

  /** How many slots have a wanted task of this revision. */
  on(service: string, revision: number): number {
    const tasks = this.#tasks(service).filter((task) => isWanted(task) && task.revision === revision);
    return new Set(tasks.map((task) => task.slot)).size;
  }

  /** How many containers run there, heard or not. */
  containersOn(node: string): number {
    return [...this.world.view.tasksOn(node as NodeId)].filter(({ value }) => this.#runs(value)).length;
  }

  /** A container dies as of `kill -9`. */
  kill(slot: string): this {
    const [service = '', number = ''] = slot.split('.');
    const task = this.#tasks(service).find((one) => one.slot === Number(number) && this.#runs(one));
    if (task === undefined) throw new Error(`nothing runs in ${slot}`);
    this.#end(task, { state: 'failed', exitCode: 137 });
    return this;
  }

  /** The node falls silent; its containers go on. */
  cut(node: string): this {
    this.#cut.add(node as NodeId);
    this.world.silent(node, this.now);
    this.#settle();
    return this;
  }

  /** The node is heard again and tells what it has. */
  heal(node: string): this {
    this.#cut.delete(node as NodeId);
    const { silentSince: _, ...status } = this.world.get('node-status', node);
    this.world.put('node-status', node, { ...status, state: 'ready', since: this.now });
    this.#settle();
    return this;
  }

  #tasks(service: string): Task[] {
    return [...this.world.view.all('task')].map((task) => task.value).filter((task) => task.serviceId === service);
  }

  #status(task: Task): TaskStatus | undefined {
    return this.world.view.get('task-status', task.id)?.value;
  }

  #runs(task: Task): boolean {
    const phase = this.#containers.get(task.id)?.phase;
    return phase === 'running' || phase === 'stopping';
  }

  /** All reconcilers, all keys, until none wants anything; then the agents, then a look at the extremes. */
  #settle(): void {
    for (let round = 0; ; round += 1) {
      if (round > ROUNDS_MAX) throw new Error(`no end to decisions at ${this.now}`);
      if (!this.#round()) break;
      this.#observe();
    }
    for (const { value: task } of this.world.view.all('task')) this.#act(task);
    this.#observe();
  }

  #round(): boolean {
    let wakeAt = this.now + LOST_AFTER_MS * 2;
    let hasCommitted = false;
    for (const reconciler of this.#reconcilers) {
      for (const key of [...reconciler.allKeys(this.world.view)]) {
        const tick = { now: this.now, newTaskId: () => `t${++this.#made}` as TaskId };
        const plan = reconciler.decide(this.world.view, key, tick);
        if (plan.wakeAt !== undefined) wakeAt = Math.min(wakeAt, plan.wakeAt);
        const done = this.world.store.commitNow(plan.units).filter((result) => result.kind === 'done');
        this.commits += done.length;
        if (done.length > 0) hasCommitted = true;
      }
    }
    if (!hasCommitted && wakeAt < this.now + LOST_AFTER_MS * 2) this.#timeline.at(wakeAt, () => this.#settle());
    return hasCommitted;
  }

  #act(task: Task): void {
    if (task.nodeId === undefined || this.#cut.has(task.nodeId)) return;
    const status = this.#status(task);
    if (status !== undefined && isTerminal(status.state)) return;
    const container = this.#containers.get(task.id);
    if (!isWanted(task)) this.#stop(task, container);
    else if (container === undefined) this.#create(task);
    else if (container.phase === 'created' && task.desired === 'running' && status?.state === 'ready')
      this.#start(task);
  }

  #behaviour(task: Task) {
    const key = revisionKey(task.serviceId, task.revision);
    return behaviourOf(this.world.get('revision', key).template.container.image);
  }

  #create(task: Task): void {
    this.#containers.set(task.id, { phase: 'created' });
    const { isAbsent, pullMs = PREPARE_MS } = this.#behaviour(task);
    this.#later(task, pullMs, ['created'], () => {
      if (isAbsent) this.#end(task, { state: 'rejected', error: 'no such image' });
      else this.#report(task, { state: 'ready' });
    });
  }

  #start(task: Task): void {
    this.#set(task, 'running');
    const { startMs, endsAfterMs, exitCode } = this.#behaviour(task);
    this.#report(task, { state: 'starting' });
    if (startMs === undefined) {
      this.#later(task, 60_000, ['running'], () => this.#end(task, { state: 'failed', error: 'not ready in 60 s' }));
    } else {
      this.#later(task, startMs, ['running'], () => this.#report(task, { state: 'running', runningAt: this.now }));
    }
    if (endsAfterMs === undefined) return;
    const state = exitCode === 0 ? 'complete' : 'failed';
    this.#later(task, endsAfterMs, ['running'], () => this.#end(task, { state, exitCode }));
  }

  #stop(task: Task, container: Container | undefined): void {
    if (container?.phase === 'stopping' || container?.phase === 'ended') return;
    const isRunning = container?.phase === 'running';
    const revision = this.world.view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
    const graceMs = revision?.template.container.stopGraceMs ?? 0;
    const isDeaf = isRunning && this.#behaviour(task).isDeaf;
    this.#set(task, isRunning ? 'stopping' : 'created');
    this.#later(task, isDeaf ? graceMs : STOP_MS, ['stopping', 'created'], () =>
      this.#end(task, { state: 'shutdown' }),
    );
  }

  #end(task: Task, status: Partial<TaskStatus>): void {
    this.#set(task, 'ended');
    this.#report(task, status);
    this.#settle();
  }

  #set(task: Task, phase: Container['phase']): void {
    this.#containers.set(task.id, { phase });
  }

  #later(task: Task, ms: number, phases: readonly Container['phase'][], act: () => void): void {
    this.#timeline.after(ms, () => {
      const container = this.#containers.get(task.id);
      if (container === undefined || !phases.includes(container.phase)) return;
      if (this.world.view.get('task', task.id) === undefined) return;
      act();
      this.#settle();
    });
  }

  #report(task: Task, status: Partial<TaskStatus>): void {
    if (task.nodeId !== undefined && this.#cut.has(task.nodeId)) return;
    if (this.world.view.get('task', task.id) === undefined) return;
    this.world.status(task.id, { ...status, at: this.now, appliedAt: this.now });
  }

  #observe(): void {
    const running = new Map<string, number>();
    for (const { value: task } of this.world.view.all('task')) {
      if (task.nodeId === undefined || this.#cut.has(task.nodeId) || !this.#runs(task)) continue;
      const slot = `${task.serviceId}.${task.slot}`;
      running.set(slot, (running.get(slot) ?? 0) + 1);
      if (running.get(slot) === 2) this.overlaps.add(slot);
    }
    if (this.#watched === undefined) return;
    const wanted = this.#tasks(this.#watched).filter(isWanted);
    const serving = wanted.filter((task) => this.#status(task)?.state === 'running' && this.#runs(task));
    this.most = Math.max(this.most, wanted.filter((task) => task.desired === 'running').length);
    this.fewest = Math.min(this.fewest, serving.length);
  }
}
