/** A rolling update of one service, from its start to its terminal word. Everything a new leader needs is here. */
import type { Instant, ServiceId, TaskId } from './ids.ts';

export type RolloutState =
  | 'updating'
  | 'paused'
  | 'completed'
  | 'rollback_started'
  | 'rollback_paused'
  | 'rollback_completed';

/** Written by the leader's updater only. One per service; a new target revision replaces it. */
export interface Rollout {
  readonly serviceId: ServiceId;
  /** The service revision it rolls to; also what `Task.rollout` names. */
  readonly target: number;
  readonly state: RolloutState;
  readonly startedAt: Instant;
  /** Set with a terminal state; written once. */
  readonly completedAt?: Instant;
  /** One line for people: what it waits for, or why it stopped, naming the task. */
  readonly message: string;
  /** Dirty slots at the start: the denominator of the failure ratio. */
  readonly total: number;
  /** Slots that held out `monitor`, so that history may forget their tasks. */
  readonly done: readonly number[];
  /** First failures, one a slot, of tasks this rollout made. */
  readonly failed: readonly { readonly slot: number; readonly taskId: TaskId }[];
  /** When it last got on (a slot done, or the start); with the policy's deadline this bounds waiting. */
  readonly progressAt: Instant;
  /** When the last slot was finished: the policy's delay counts from here. */
  readonly lastDoneAt?: Instant;
}

/** True when a rollout will not touch another slot. */
export function isSettled(state: RolloutState): boolean {
  return state !== 'updating' && state !== 'rollback_started';
}
