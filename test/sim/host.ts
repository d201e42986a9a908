/**
 * A pretend host with its agent. The agent keeps to its contract at the level of messages: a set of tasks goes in, each
 * goes forward one state at a time, and is reported. Containers live on when the agent dies or no manager is heard;
 * they end with the host's power.
 */
import type { Instant, NodeId, TaskId } from '../../common/model/ids.ts';
import { compareEpochs, type Epoch, type NodeDescription } from '../../common/model/node.ts';
import { desiredRank, isTerminal, isWanted, type ReportedState } from '../../common/model/task.ts';
import type { Assigned, Dispatcher, Report } from './dispatcher.ts';
import { type Behaviour, behaviourOf } from './images.ts';
import type { World } from './world.ts';

/** Where an agent finds the leader. */
export interface Switchboard {
  readonly dispatcher: Dispatcher | undefined;
}

/** A task as the agent has it on its disk. */
interface Held {
  assigned: Assigned;
  report: Report | undefined;
  readonly behaviour: Behaviour;
  /** Raised whenever its next step is planned anew, so that an older plan is void. */
  turn: number;
}

/** A third of the failover time: until then every restart is a manager's. */
const ALONE_AFTER_MS = 5_000;

export class Host {
  readonly id: NodeId;
  readonly description: NodeDescription;
  readonly #world: World;
  readonly #switchboard: Switchboard;
  readonly #held = new Map<TaskId, Held>();
  #epoch: Epoch = { incarnation: 0, reign: 0 };
  #session: { readonly id: number; readonly dispatcher: Dispatcher } | undefined;
  #isPowered = true;
  #agentRuns = true;
  #isLinked = true;
  #isDismissed = false;
  /** Raised by every start and end of the agent: its timers die with it. */
  #life = 0;
  #lostAt: Instant = 0;
  #unfit = '';

  constructor(world: World, switchboard: Switchboard, id: NodeId, description: NodeDescription) {
    this.#world = world;
    this.#switchboard = switchboard;
    this.id = id;
    this.description = description;
    this.#connect();
  }

  /** A message would arrive now. */
  get isReachable(): boolean {
    return this.#isPowered && this.#agentRuns && this.#isLinked && !this.#isDismissed;
  }

  get isLinked(): boolean {
    return this.#isLinked;
  }

  get isGone(): boolean {
    return this.#isDismissed;
  }

  /** The agent's process dies; its containers do not. The stream's end is seen at once, if the link is there. */
  crashAgent(): void {
    if (!this.#agentRuns) return;
    this.#agentRuns = false;
    this.#life++;
    this.#drop(this.#isLinked ? 0 : 4_000, 'session closed');
  }

  startAgent(): void {
    if (this.#agentRuns || !this.#isPowered || this.#isDismissed) return;
    this.#agentRuns = true;
    this.#life++;
    for (const held of this.#held.values()) this.#adopt(held);
    this.#connect();
  }

  powerOff(): void {
    this.crashAgent();
    this.#isPowered = false;
    for (const container of [...this.#world.containers.on(this.id)]) {
      this.#world.containers.end(container.taskId, { exitCode: 137, oomKilled: false, wasAsked: false });
    }
  }

  powerOn(): void {
    this.#isPowered = true;
    this.startAgent();
  }

  cutLink(): void {
    if (!this.#isLinked) return;
    this.#isLinked = false;
    const session = this.#session;
    if (session === undefined) return;
    // Both ends notice the silence by themselves.
    this.#world.after(3_000, 6_000, () => {
      if (!this.#isLinked && this.#session === session) this.#drop(0, 'no answer to pings');
    });
  }

  healLink(): void {
    this.#isLinked = true;
  }

  /** The leader is gone and all its streams with it. */
  hangUp(): void {
    if (this.#session === undefined) return;
    this.#session = undefined;
    this.#lostAt = this.#world.now;
    this.#connect();
  }

  /** The node was removed from the cluster: an agent that learns it stops everything and ends. */
  dismiss(): void {
    if (!this.isReachable) return;
    this.#isDismissed = true;
    this.#life++;
    this.#session = undefined;
    for (const { taskId } of [...this.#world.containers.on(this.id)]) this.#kill(taskId);
    this.#held.clear();
  }

  /** The agent's self-test says something new; told at once, or when a session opens. */
  report(unfit: string): void {
    this.#unfit = unfit;
    if (this.#session !== undefined && this.isReachable)
      this.#session.dispatcher.unfit(this.id, this.#session.id, unfit);
  }

  get unfit(): string {
    return this.#unfit;
  }

  /** The complete set of this node's tasks. An older reign's is refused. */
  assign(sessionId: number, epoch: Epoch, set: readonly Assigned[]): void {
    if (!this.isReachable || this.#session?.id !== sessionId || compareEpochs(epoch, this.#epoch) < 0) return;
    this.#epoch = epoch;
    const listed = new Set(set.map(({ task }) => task.id));
    for (const [taskId] of this.#held) if (!listed.has(taskId)) this.#discard(taskId);
    for (const assigned of set) this.#take(assigned);
  }

  /** A container is killed from outside, or dies by itself. */
  containerDies(taskId: TaskId, exitCode: number, oomKilled: boolean): void {
    if (!this.#world.containers.end(taskId, { exitCode, oomKilled, wasAsked: false })) return;
    this.#world.tell(() => `container of ${taskId} on ${this.id} ends with ${exitCode}`);
    const held = this.#held.get(taskId);
    if (held === undefined) return;
    const again = this.#isAlone(held) ? mayRunAgain(held) : undefined;
    if (again === undefined) this.#later(held, 5, 60, () => this.#buried(held));
    else this.#later(held, again, again, () => this.#runAgain(held));
  }

  #take(assigned: Assigned): void {
    const known = this.#held.get(assigned.task.id);
    if (known === undefined) {
      const behaviour = behaviourOf(assigned.revision.template.container.image);
      const held: Held = { assigned, report: undefined, behaviour, turn: 0 };
      this.#held.set(assigned.task.id, held);
      this.#go(held);
      return;
    }
    const isFurther = desiredRank(assigned.task.desired) > desiredRank(known.assigned.task.desired);
    if (!isFurther) return;
    known.assigned = assigned;
    this.#go(known);
  }

  #discard(taskId: TaskId): void {
    this.#held.delete(taskId);
    if (!this.#world.containers.runs(taskId)) return;
    this.#world.after(50, 500, () => this.#kill(taskId));
  }

  #kill(taskId: TaskId): void {
    this.#world.containers.end(taskId, { exitCode: 143, oomKilled: false, wasAsked: true });
  }

  /** Plans the next step of a task; a step that was planned before is void. */
  #go(held: Held): void {
    const { task, revision } = held.assigned;
    const state = held.report?.state;
    const { startMs, isAbsent, pullMs } = held.behaviour;
    const { startTimeoutMs } = revision.template.container;
    if (state !== undefined && isTerminal(state)) return;
    if (!isWanted(task)) {
      this.#stop(held);
      return;
    }
    switch (state) {
      case undefined:
        this.#later(held, 5, 60, () => this.#become(held, 'accepted'));
        return;
      case 'accepted':
        this.#later(held, 5, 50, () => this.#become(held, 'preparing'));
        return;
      case 'preparing':
        this.#later(held, pullMs ?? 50, pullMs ?? 1_500, () => this.#become(held, isAbsent ? 'rejected' : 'ready'));
        return;
      case 'ready':
        if (task.desired === 'running') this.#later(held, 5, 30, () => this.#exec(held));
        return;
      case 'starting':
        if (startMs === undefined) this.#later(held, startTimeoutMs, startTimeoutMs, () => this.#timeOut(held));
        else this.#later(held, startMs, startMs + 300, () => this.#become(held, 'running'));
        return;
      case 'running':
      case 'complete':
      case 'shutdown':
      case 'failed':
      case 'rejected':
        return;
    }
  }

  #exec(held: Held): void {
    const { task } = held.assigned;
    this.#world.containers.start(task, this.id, this.#world.now);
    this.#planEnd(held);
    this.#become(held, 'starting');
  }

  /** No manager has been heard for so long that restarts are the agent's own (docs/task-life.md, "Runs"). */
  #isAlone(held: Held): boolean {
    const isLong = this.#session === undefined && this.#world.now - this.#lostAt > ALONE_AFTER_MS;
    return isLong && held.report?.state === 'running' && isWanted(held.assigned.task);
  }

  #runAgain(held: Held): void {
    // A manager that is back decides by itself.
    if (!this.#isAlone(held) || held.report === undefined) {
      this.#buried(held);
      return;
    }
    const { id: taskId } = held.assigned.task;
    this.#world.containers.rerun(taskId, this.#world.now);
    const { now } = this.#world;
    const before = held.report.runs.length === 0 ? [{ number: 1, startedAt: held.report.at }] : held.report.runs;
    const ended = before.map((run) => (run.endedAt === undefined ? { ...run, endedAt: now } : run));
    const runs = [...ended, { number: before.length + 1, startedAt: now }];
    this.#world.tell(() => `${taskId} on ${this.id} runs for the ${runs.length}th time, no manager is heard`);
    held.report = { ...held.report, runs };
    this.#planEnd(held);
  }

  #planEnd({ assigned, behaviour }: Held): void {
    const { endsAfterMs, exitCode, oomKilled } = behaviour;
    if (endsAfterMs === undefined) return;
    const run = this.#world.containers.of(assigned.task.id);
    this.#world.timeline.after(endsAfterMs, () => {
      if (this.#world.containers.of(assigned.task.id) === run)
        this.containerDies(assigned.task.id, exitCode, oomKilled);
    });
  }

  #timeOut(held: Held): void {
    this.#kill(held.assigned.task.id);
    this.#become(held, 'failed', { error: 'not ready within the start timeout' });
  }

  #stop(held: Held): void {
    const { task, revision } = held.assigned;
    if (!this.#world.containers.runs(task.id)) {
      this.#later(held, 2, 20, () => this.#buried(held));
      return;
    }
    const grace = revision.template.container.stopGraceMs;
    const [low, high] = held.behaviour.isDeaf ? [grace, grace] : [20, 900];
    this.#later(held, low, high, () => {
      this.#kill(task.id);
      this.#become(held, 'shutdown');
    });
  }

  /** Its container has ended, or it never had one and is to have none. */
  #buried(held: Held): void {
    const end = this.#world.containers.of(held.assigned.task.id)?.end;
    if (end === undefined || end.wasAsked || !isWanted(held.assigned.task)) {
      this.#become(held, 'shutdown');
      return;
    }
    const { exitCode, oomKilled } = end;
    this.#become(held, exitCode === 0 ? 'complete' : 'failed', { exitCode, oomKilled });
  }

  /** After the agent's restart: what is on disk is compared with what runs. */
  #adopt(held: Held): void {
    const container = this.#world.containers.of(held.assigned.task.id);
    const state = held.report?.state;
    if (container?.end !== undefined && (state === undefined || !isTerminal(state))) this.#buried(held);
    else this.#go(held);
  }

  #become(held: Held, state: ReportedState, more: Partial<Report> = {}): void {
    const { id: taskId } = held.assigned.task;
    this.#world.tell(() => `${taskId} on ${this.id} is ${state}`);
    held.report = {
      taskId,
      nodeId: this.id,
      state,
      at: this.#world.now,
      message: '',
      oomKilled: false,
      healthy: state === 'running',
      runs: held.report?.runs ?? [],
      ...more,
    };
    this.#say(held.report);
    this.#go(held);
  }

  #say(report: Report): void {
    const session = this.#session;
    if (session === undefined) return;
    const deliver = (): void => {
      if (this.#session !== session) return;
      if (this.isReachable) session.dispatcher.report(this.id, session.id, report);
      else if (this.#agentRuns) this.#world.after(100, 300, deliver);
    };
    this.#world.after(3, 90, deliver);
    // A message that comes twice, perhaps after a later one or after the session's end, is to change nothing.
    if (this.#world.dice.chance(0.05)) {
      this.#world.after(90, 9_000, () => session.dispatcher.report(this.id, session.id, report));
    }
  }

  #connect(): void {
    const life = this.#life;
    this.#world.after(100, 1_200, () => {
      if (life !== this.#life || this.#session !== undefined || this.#isDismissed) return;
      const { dispatcher } = this.#switchboard;
      const id = this.isReachable ? dispatcher?.open(this) : undefined;
      if (id === 'removed') {
        this.dismiss();
        return;
      }
      if (id === undefined || dispatcher === undefined) return this.#connect();
      this.#session = { id, dispatcher };
      for (const { report } of this.#held.values()) if (report !== undefined) this.#say(report);
    });
  }

  #drop(noticeMs: number, message: string): void {
    const session = this.#session;
    if (session === undefined) return;
    this.#session = undefined;
    this.#lostAt = this.#world.now;
    this.#world.after(noticeMs, noticeMs + 300, () => session.dispatcher.closed(this.id, session.id, message));
    if (this.#agentRuns) this.#connect();
  }

  #later(held: Held, lowMs: number, highMs: number, run: () => void): void {
    const turn = ++held.turn;
    const life = this.#life;
    this.#world.after(lowMs, highMs, () => {
      if (life !== this.#life || held.turn !== turn) return;
      if (this.#held.get(held.assigned.task.id) === held) run();
    });
  }
}

/** After how long the agent may start the next run by itself; undefined: the policy has no more. */
function mayRunAgain({ assigned, report }: Held): number | undefined {
  const { condition, delayMs, maxAttempts } = assigned.revision.template.restart;
  const spent = assigned.task.restarts.total + Math.max(0, (report?.runs.length ?? 0) - 1);
  if (condition !== 'any' || (maxAttempts > 0 && spent >= maxAttempts)) return undefined;
  return Math.max(delayMs, 100);
}
