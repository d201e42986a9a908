/** What happens when a rollout fails: pause, go on or go back (docs/adr/0004). */
import type { Revision } from '../../common/model/ids.ts';
import type { Rollout } from '../../common/model/rollout.ts';
import { type FailureAction, revisionKey, type UpdatePolicy } from '../../common/model/service.ts';
import type { Scene } from '../orchestrator/scene.ts';
import type { Plan } from '../reconcile.ts';
import { check, put, type Write } from '../store/store.ts';
import { asIf, dirtySlots, rolloutTo } from './begin.ts';
import { rolledBack } from './rollback.ts';

/** Why it fails. `stranger`: it waits for a slot that it did not make. */
interface Trouble {
  readonly reason: string;
  readonly policy: UpdatePolicy;
  readonly cause: 'failures' | 'deadline' | 'stranger';
}

/** True when more slots have failed than the policy allows; exactly as many are still allowed. */
export function isTooMany(rollout: Rollout, policy: UpdatePolicy): boolean {
  return rollout.failed.length > 0 && rollout.failed.length / rollout.total > policy.maxFailureRatio;
}

/** The plan that the policy's failure action asks for; undefined: go on. */
export function failureAction(scene: Scene, rollout: Rollout, rev: Revision, trouble: Trouble): Plan | undefined {
  const action = actionFor(rollout, trouble);
  switch (action) {
    case 'continue':
      return undefined;
    case 'pause':
      return pause(scene, rollout, rev, trouble.reason);
    case 'rollback':
      return goBack(scene, rollout, rev, trouble.reason);
  }
}

function actionFor(rollout: Rollout, { policy, cause }: Trouble): FailureAction {
  // Going on never ends where a slot does not get ready: then people have to look (I19).
  if (policy.failureAction === 'continue') return cause === 'failures' ? 'continue' : 'pause';
  if (rollout.state === 'rollback_started' || cause === 'stranger') return 'pause';
  return policy.failureAction;
}

function pause(scene: Scene, rollout: Rollout, rev: Revision, reason: string): Plan {
  const isRollback = rollout.state === 'rollback_started';
  const value: Rollout = {
    ...rollout,
    state: isRollback ? 'rollback_paused' : 'paused',
    message: `${isRollback ? 'rollback' : 'update'} paused ${reason}`,
  };
  return { units: [[put('rollout', scene.service.id, value, rev)]], because: value.message };
}

function goBack(scene: Scene, rollout: Rollout, rev: Revision, reason: string): Plan {
  const service = rolledBack(scene.service, scene.now);
  if (service === undefined || service.revision === scene.service.revision) {
    return pause(scene, rollout, rev, `${reason}; there is no earlier spec to roll back to`);
  }
  const before = asIf(scene, service);
  const message = `update rolled back ${reason}`;
  const value = rolloutTo(before, 'rollback_started', dirtySlots(before), message);
  return {
    units: [
      [
        put('service', service.id, service, scene.serviceRev),
        put('rollout', service.id, value, rev),
        contents(scene, service),
      ],
    ],
    because: message,
  };
}

/** What the tasks of the earlier spec are made from is there as a rule; were it not, they could never start. */
function contents(scene: Scene, { id, spec, revision }: Scene['service']): Write {
  const key = revisionKey(id, revision);
  const found = scene.view.get('revision', key);
  if (found !== undefined) return check('revision', key, found.rev);
  const { name: serviceName, template, ports, failoverAfterMs } = spec;
  const value = { serviceId: id, number: revision, serviceName, template, ports };
  return put('revision', key, failoverAfterMs === undefined ? value : { ...value, failoverAfterMs }, 0);
}
