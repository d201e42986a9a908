/** What a rollout says to people: one line that names the task and the cause (Source: Docker Engine API, `UpdateStatus.Message`). */
import type { RolloutState } from '../../common/model/rollout.ts';
import { taskName } from '../../common/model/task.ts';
import { causeOf } from '../orchestrator/restart.ts';
import type { Member, Scene } from '../orchestrator/scene.ts';
import type { Failure } from './progress.ts';

/** The message of a rollout that goes on. */
export function started(state: RolloutState): string {
  return state === 'rollback_started' ? 'manually requested rollback' : 'update in progress';
}

/** The message of a rollout that has ended well. */
export function completed(state: RolloutState): string {
  return state === 'rollback_started' ? 'rollback completed' : 'update completed';
}

/** Why a rollout stops, after `update paused` or the like. */
export function failureReason(scene: Scene, { member }: Failure): string {
  const cause = member.status === undefined ? member.state : causeOf(member.status);
  return `due to failure or early termination of task ${nameOf(scene, member)}: ${cause}`;
}

/** Why a rollout stops that got no further. */
export function deadlineReason(scene: Scene, slot: number, member: Member, deadlineMs: number): string {
  const { task, status } = member;
  const said = status === undefined || status.error === undefined ? status?.message : causeOf(status);
  const doing = said === undefined || said === '' ? `it is ${member.state}` : said;
  const cause = task.nodeId === undefined ? (task.pending ?? 'it has no node yet') : doing;
  return `as slot ${slot} got no further in ${seconds(deadlineMs)} (task ${nameOf(scene, member)}): ${cause}`;
}

function nameOf(scene: Scene, member: Member): string {
  return taskName(scene.service.spec.name, member.task);
}

function seconds(ms: number): string {
  return ms % 60_000 === 0 ? `${ms / 60_000} min` : `${ms / 1_000} s`;
}
