/** What an agent is told of one task, and whether it can be told anything: the words that its rooms share. */
import type { Instant } from '../common/model/ids.ts';
import type { ServiceRevision } from '../common/model/service.ts';
import type { Task } from '../common/model/task.ts';

/** One task as the manager handed it over. */
export interface Assignment {
  readonly task: Task;
  readonly revision: ServiceRevision;
  /** Only of a leaving task: it is out of every reachable node's map. */
  readonly released: boolean;
}

/** No session; what holds meanwhile. */
export interface LostContact {
  readonly kind: 'lost';
  readonly since: Instant;
  /** The cluster's, as last heard; a revision may have its own. */
  readonly failoverAfterMs: number;
}

/** Whether a manager can be asked. */
export type ManagerContact = { readonly kind: 'session' } | LostContact;
