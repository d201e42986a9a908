/**
 * Which ids of the host a container's ids are: one range for each container, none shared, so that what breaks out of one
 * is nobody to the host and a stranger to all others. Pure.
 *
 * Source: subuid(5); systemd's "Users, Groups, UIDs and GIDs", which leaves what is above 2^31 alone, as we do.
 */
import { ClusterError } from '../../common/errors.ts';

/** As many ids as an image may use: 0 to 65,535. */
export const RANGE_SIZE = 65_536;
/** Signed 32-bit numbers: beyond them old tools and file systems count backwards. */
const IDS_END = 2 ** 31;
const DEFAULT_BASE = 100_000;

/** The ids `base` to `base + RANGE_SIZE - 1` of the host, for users and groups alike. */
export interface IdRange {
  readonly base: number;
}

/** What ranges are taken from: `count` of them, side by side, from `base` on. */
export interface IdPool {
  readonly base: number;
  readonly count: number;
}

export interface IdPoolSources {
  /** `BASE:COUNT` in ids, from the settings; empty: not said. */
  readonly setting: string;
  /** The contents of /etc/subuid and /etc/subgid; empty when there is none. */
  readonly subuid: string;
  readonly subgid: string;
}

/** Up to 2^31 from 100,000: 32,766 containers. */
export const DEFAULT_POOL: IdPool = poolOf(DEFAULT_BASE, IDS_END - DEFAULT_BASE, 'the default');

/**
 * The setting, else what /etc/subuid and /etc/subgid set aside for `covey`, else DEFAULT_POOL.
 * @throws ClusterError `invalid` when it is too small for one range, or the two files disagree
 */
export function idPool(sources: IdPoolSources): IdPool {
  if (sources.setting !== '') return parsePool(sources.setting, 'user-ids');
  const uids = subordinate(sources.subuid);
  const gids = subordinate(sources.subgid);
  if (uids === undefined && gids === undefined) return DEFAULT_POOL;
  if (uids !== gids || uids === undefined) {
    throw new ClusterError('invalid', 'covey has other ranges in /etc/subuid than in /etc/subgid', {
      hint: 'give it the same one in both, or set user-ids',
    });
  }
  return parsePool(uids, 'covey in /etc/subuid');
}

/** The lowest range that none of `taken` touches, in any order; undefined when there is none. */
export function freeRange(pool: IdPool, taken: readonly IdRange[]): IdRange | undefined {
  const bases = taken.map(({ base }) => base).sort((a, b) => a - b);
  let candidate = pool.base;
  for (const base of bases) {
    if (base + RANGE_SIZE <= candidate) continue;
    if (base >= candidate + RANGE_SIZE) break;
    // From another pool it may lie across two of ours.
    const behind = base + RANGE_SIZE - pool.base;
    candidate = pool.base + Math.ceil(behind / RANGE_SIZE) * RANGE_SIZE;
  }
  return candidate < pool.base + pool.count * RANGE_SIZE ? { base: candidate } : undefined;
}

/** `BASE:COUNT` of the first line for `covey`. */
function subordinate(file: string): string | undefined {
  return /^covey:(\d+:\d+)\s*$/m.exec(file)?.[1];
}

function parsePool(text: string, source: string): IdPool {
  const [base = 0, ids = 0] = text.split(':').map(Number);
  return poolOf(base, ids, `${source} (${text})`);
}

function poolOf(base: number, ids: number, source: string): IdPool {
  const count = Math.floor(ids / RANGE_SIZE);
  const hint = `write BASE:COUNT, from 1:${RANGE_SIZE}; the last id must be below ${IDS_END}`;
  if (count < 1) throw new ClusterError('invalid', `${source}: ${ids} ids are too few for one container`, { hint });
  if (base < 1) throw new ClusterError('invalid', `${source}: id 0 is the host's root`, { hint });
  if (base + count * RANGE_SIZE > IDS_END) {
    throw new ClusterError('invalid', `${source}: reaches beyond id ${IDS_END - 1}`, { hint });
  }
  return { base, count };
}
