/**
 * Keeps the disk of this host's state below its marks. In: how full it is, what could go. Out: that removed, one after the
 * other, until there is room again; and a sentence for managers when there is none. It never removes what runs or may have to
 * be run again.
 */
import { statfs } from 'node:fs/promises';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { Log } from '../../common/log.ts';
import { formatBytes } from '../../common/units.ts';
import { bytesAbove, bytesToFree, type DiskUse, type Held, inTurn, isPressed, type Marks, shareOf } from './marks.ts';

/** Something of this host that takes room. */
export interface DiskSource {
  list(signal: AbortSignal): Promise<readonly Held[]>;
  /** Removes one of these. @returns false when it has come into use meanwhile, or is gone */
  remove(id: string, signal: AbortSignal): Promise<boolean>;
}

/** What one of the sources holds. */
export interface Listed extends Held {
  readonly source: DiskSource;
}

/** Less free space than this, whatever its share: no new task could write its log for long. */
export const FREE_MIN_BYTES = 64 * 1024 * 1024;

export interface DiskKeeperTools {
  readonly dir: string;
  readonly marks: Marks;
  readonly freeMinBytes: number;
  readonly sources: readonly DiskSource[];
  readonly log: Log;
}

export class DiskKeeper {
  readonly #tools: DiskKeeperTools;
  #isPressed = false;
  #making: Promise<void> | undefined;

  constructor(tools: DiskKeeperTools) {
    this.#tools = tools;
  }

  /**
   * Looks once, and begins to make room in the background when the high mark is passed.
   * @returns why no new task can come, or an empty string
   */
  async check(signal: AbortSignal): Promise<string> {
    const { dir, marks, freeMinBytes } = this.#tools;
    const use = await diskUse(dir);
    this.#isPressed = isPressed(use, marks, this.#isPressed);
    const isShort = use.freeBytes < freeMinBytes;
    if (isShort || bytesToFree(use, marks) > 0) {
      this.#making ??= this.makeRoom(signal)
        .catch((cause: unknown) => this.#tools.log.warn({ cause }, 'room on the disk could not be made'))
        .finally(() => {
          this.#making = undefined;
        });
    }
    if (isShort) {
      const free = `only ${formatBytes(use.freeBytes)} free in ${dir}, ${formatBytes(freeMinBytes)} are needed`;
      return `disk-pressure: ${free}: free some space, see \`covey system df\``;
    }
    if (!this.#isPressed) return '';
    const share = `${Math.round(shareOf(use))} % of the disk of ${dir} is used, ${formatBytes(use.freeBytes)} free`;
    return `disk-pressure: ${share}: new tasks come at ${marks.high} % or less; free some space, see \`covey system df\``;
  }

  /** Removes what is idle, the longest unused first, until the low mark is reached or nothing is left. */
  async makeRoom(signal: AbortSignal): Promise<void> {
    const { dir, marks, freeMinBytes, log } = this.#tools;
    let removed = 0;
    const spare = (await this.list(signal)).filter(({ worth }) => worth === 'spare');
    for (const each of inTurn(spare)) {
      signal.throwIfAborted();
      const use = await diskUse(dir);
      if (bytesAbove(use, marks.low) === 0 && use.freeBytes >= freeMinBytes) break;
      if (!(await this.#removed(each, signal))) continue;
      removed += 1;
      log.info({ kind: each.kind, id: each.id, name: each.name, bytes: each.bytes }, 'removed to make room');
    }
    const share = Math.round(shareOf(await diskUse(dir)));
    if (removed === 0) log.debug({ share }, 'nothing on the disk is idle');
    else log.info({ removed, share }, 'made room on the disk');
  }

  async #removed({ source, kind, id, name }: Listed, signal: AbortSignal): Promise<boolean> {
    try {
      return await source.remove(id, signal);
    } catch (cause) {
      signal.throwIfAborted();
      this.#tools.log.warn({ kind, id, name, cause }, 'could not be removed to make room');
      return false;
    }
  }

  /** Everything that is known to take room, in no order. */
  async list(signal: AbortSignal): Promise<readonly Listed[]> {
    const { sources } = this.#tools;
    const lists = await Promise.all(
      sources.map(async (source) => (await source.list(signal)).map((held) => ({ ...held, source }))),
    );
    return lists.flat();
  }
}

/** Of the file system that holds `dir`. @throws ClusterError `internal` */
export async function diskUse(dir: string): Promise<DiskUse> {
  try {
    const { blocks, bfree, bavail, bsize } = await statfs(dir);
    return { usedBytes: (blocks - bfree) * bsize, freeBytes: bavail * bsize };
  } catch (cause) {
    throw new ClusterError('internal', `the disk of ${dir} cannot be looked at: ${messageOf(cause)}`, { cause });
  }
}
