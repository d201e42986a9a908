/** What one container without a service needs of its host. */
import type { Clock } from '../../common/clock.ts';
import type { Log } from '../../common/log.ts';
import type { Mount } from '../../common/model/mount.ts';
import type { Images } from '../image/image.ts';
import type { Network } from '../network/network.ts';
import type { PlacedFile, Runtime } from '../runtime/runtime.ts';
import type { Volumes } from '../volume/volumes.ts';
import type { ContainerRecord } from './record.ts';

export type StandaloneState = 'created' | 'running' | 'paused' | 'restarting' | 'exited';

export interface StandaloneTools {
  readonly runtime: Runtime;
  readonly images: Pick<Images, 'ensure'>;
  readonly network: Pick<Network, 'attach' | 'detach'>;
  readonly volumes: Volumes;
  readonly filesFor: (hostname: string, address: string) => Promise<readonly PlacedFile[]>;
  /** An address for it. @throws ClusterError `exhausted`, `unavailable` */
  readonly address: (id: string) => string;
  /** Refuses ports that another container here has. */
  readonly checkPorts: (id: string) => void;
  readonly keep: (record: ContainerRecord) => Promise<void>;
  /** It is gone with everything it had but volumes. */
  readonly gone: (id: string) => Promise<void>;
  /** Removes those of the volumes that nobody named and no container has any more. */
  readonly forget: (mounts: readonly Mount[]) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How a user wants it to go. */
export interface StopWish {
  /** Absent: its own; below 0: for ever. */
  readonly graceMs?: number;
  /** Absent: its own. */
  readonly stopSignal?: string;
}
