/** What a runner needs of its agent. */
import type { NodeId, TaskId } from '../common/model/ids.ts';
import type { TaskStatus } from '../common/model/task.ts';
import type { Assignment, ManagerContact } from './assignment.ts';
import type { WatchTools } from './container-watch.ts';
import type { Images } from './image/image.ts';
import type { Network } from './network/network.ts';
import type { PlacedFile, Runtime } from './runtime/runtime.ts';
import type { TaskRecord } from './state.ts';

export interface RunnerTools extends WatchTools {
  readonly nodeId: NodeId;
  readonly runtime: Runtime;
  readonly images: Images;
  readonly network: Network;
  readonly contact: () => ManagerContact;
  /** The cluster's, as last heard. */
  readonly failoverAfterMs: () => number;
  /** /etc/hosts and its like. */
  readonly filesFor: (held: Assignment) => Promise<readonly PlacedFile[]>;
  /** Resolves once the record is durable. */
  readonly keep: (record: TaskRecord) => Promise<void>;
  readonly drop: (id: TaskId) => Promise<void>;
  readonly onStatus: (status: TaskStatus) => void;
}
