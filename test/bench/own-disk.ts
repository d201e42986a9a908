/**
 * A place for a bench's containers: a file system made afresh, as a host's is by default, ext4 with its journal. What other work
 * has left on a disk would be measured too: ext4 without a journal, which roots of virtual machines often are, passes over
 * every inode freed in the last minutes whenever it makes one.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../../common/errors.ts';
import { LoopDisk } from '../support/loop-disk.ts';

/** The file has holes; a run writes a few MiB of it. */
const MIB = 4_096;
/** Nothing is to be written while the bench runs but what it does itself. */
const MAKE = ['-E', 'lazy_itable_init=0,lazy_journal_init=0'];

export interface OwnDisk {
  readonly folder: string;
  /** Why it is no disk of its own but a folder of TMPDIR. */
  readonly notes: readonly string[];
  /** Nothing may be mounted or run there any more. */
  remove(): void;
}

/** @param mib  of its size */
export function ownDisk(mib: number = MIB): OwnDisk {
  const home = mkdtempSync(join(tmpdir(), 'covey-bench-'));
  // runc looks at its bundle with the ids of the container.
  chmodSync(home, 0o711);
  const leave = (): void => rmSync(home, { recursive: true, force: true });
  try {
    const disk = new LoopDisk(home, { mib, make: MAKE });
    const remove = (): void => {
      disk.remove();
      leave();
    };
    return { folder: disk.path, notes: [], remove };
  } catch (cause) {
    const reason = messageOf(cause).split('\n', 1)[0];
    return { folder: home, notes: [`on the file system of ${tmpdir()}, as it is: ${reason}`], remove: leave };
  }
}
