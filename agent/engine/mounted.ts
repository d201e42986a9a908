/** Where a path of a container leads that lies in what is mounted into it. PURE. */
import { ClusterError } from '../../common/errors.ts';
import type { Mount } from '../../common/model/mount.ts';

export interface MountedPlace {
  /** Of the host: what is mounted. */
  readonly source: string;
  /** Beneath `source`, without a slash at either end; empty = itself. */
  readonly below: string;
  readonly readOnly: boolean;
}

/**
 * Undefined when nothing is mounted there or above.
 * @param whole  the path as the container sees it, absolute and clean, links resolved as far as they lie in its own files
 * @throws ClusterError `conflict` for memory, which nobody outside sees
 */
export function mountedAt(
  mounts: readonly Mount[],
  whole: string,
  volumePath: (name: string) => string,
): MountedPlace | undefined {
  const [mount] = mounts
    .filter(({ target }) => whole === target || whole.startsWith(`${target}/`))
    .toSorted((a, b) => b.target.length - a.target.length);
  if (mount === undefined) return undefined;
  if (mount.kind === 'tmpfs') {
    throw new ClusterError('conflict', `${mount.target} is memory that only the container sees`, {
      field: 'path',
      hint: 'use `covey exec`',
    });
  }
  const source = mount.kind === 'volume' ? volumePath(mount.source) : mount.source;
  return { source, below: whole.slice(mount.target.length + 1), readOnly: mount.readOnly };
}
