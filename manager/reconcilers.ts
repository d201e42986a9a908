/** Everything a leader decides, in the order in which a change is best thought through. */
import type { Epoch } from '../common/model/node.ts';
import { blocks } from './allocator/addresses.ts';
import { liveness } from './nodes/liveness.ts';
import { enforce } from './orchestrator/enforce.ts';
import { reap } from './orchestrator/reap.ts';
import { replicated } from './orchestrator/replicated.ts';
import { revisions } from './orchestrator/revisions.ts';
import type { Reconciler } from './reconcile.ts';
import { schedule } from './scheduler/schedule.ts';
import { update } from './updater/update.ts';

/** The reconcilers of one reign. */
export function reconcilersOf(epoch: Epoch): readonly Reconciler[] {
  return [liveness(epoch), blocks, enforce, replicated, update, schedule, reap, revisions] as readonly Reconciler[];
}
