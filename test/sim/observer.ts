/**
 * Watches every commit and every start of a container, and judges them by the invariants (docs/testing.md).
 * It knows what truly runs, which no manager does.
 */
import { compareEpochs } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import type { Change } from '../../manager/store/store.ts';
import type { Committed } from '../support/memory-store.ts';
import { bindingFlaw } from './judge-binding.ts';
import { RolloutJudge } from './judge-rollout.ts';
import { SlotJudge } from './judge-slot.ts';
import { backwards } from './judge-task.ts';
import { Violation, type World } from './world.ts';

/** Kinds that only a leader may write; an unfenced write of one is a deposed leader's. */
const LEADERS: ReadonlySet<Change['kind']> = new Set(['task', 'task-status', 'node-status', 'rollout']);

export class Observer {
  readonly #world: World;
  readonly #slots: SlotJudge;
  readonly #rollouts: RolloutJudge;
  #commits = 0;

  constructor(world: World) {
    this.#world = world;
    this.#slots = new SlotJudge(world);
    this.#rollouts = new RolloutJudge(world);
  }

  /** How many transactions have changed something. */
  get commits(): number {
    return this.#commits;
  }

  observe({ batch, epoch }: Committed): void {
    this.#commits++;
    const reigning = this.#world.etcd.reigning?.epoch;
    for (const change of batch.changes) {
      if (LEADERS.has(change.kind)) {
        const isLeaders = epoch !== undefined && reigning !== undefined && compareEpochs(epoch, reigning) === 0;
        if (!isLeaders) this.#fail(`fence: ${change.kind} ${change.id} is written by a deposed leader`);
      }
      this.#say(backwards(change));
      if (change.kind === 'task') this.#judgeTask(change.before, change.after);
      if (change.kind === 'rollout') this.#say(this.#rollouts.judge(change.before, change.after));
    }
    // After all of the transaction: within it the order means nothing.
    for (const flaw of this.#slots.judge(batch.changes)) this.#fail(flaw);
  }

  #judgeTask(before: Task | undefined, after: Task | undefined): void {
    if (after === undefined) return;
    if (after.nodeId !== undefined && before?.nodeId === undefined) this.#say(bindingFlaw(this.#world.view, after));
    if (before === undefined) this.#say(this.#rollouts.judgeNewTask(after));
  }

  #say(flaw: string | undefined): void {
    if (flaw !== undefined) this.#fail(flaw);
  }

  #fail(flaw: string): never {
    this.#world.tell(() => `BROKEN ${flaw}`);
    throw new Violation(flaw);
  }
}
