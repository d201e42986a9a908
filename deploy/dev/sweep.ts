/** Removes every trace of a cluster from the machine, whatever state it is in. */
import { readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { tryRun } from './command.ts';
import type { Layout } from './layout.ts';
import { cgroupDirs, isRunning, killAll, membersOf } from './processes.ts';
import { unplug } from './wires.ts';

/** How often a cgroup is tried whose last process has only just ended. */
const RMDIR_TRIES = 100;

/** Ends all processes of the cluster: the supervisor first, so that nothing is restarted. */
export async function endAll(layout: Layout): Promise<void> {
  const supervisor = readPid(join(layout.runDir, 'supervisor.pid'));
  await killAll(() => (supervisor !== undefined && isRunning(supervisor, layout.dir) ? [supervisor] : []));
  await killAll(() => membersOf(layout, layout.hosts));
}

/** Everything gone: processes, cgroups, mounts, links, namespaces, files. */
export async function sweep(layout: Layout): Promise<void> {
  await endAll(layout);
  for (const dir of cgroupDirs(layout.cgroup)) await removeCgroup(dir);
  unmountBeneath(layout.dir);
  unmountBeneath(layout.runDir);
  unplug(layout);
  rmSync(layout.runDir, { recursive: true, force: true });
  rmSync(layout.dir, { recursive: true, force: true });
}

async function removeCgroup(dir: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      rmdirSync(dir);
      return;
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || tries === RMDIR_TRIES) throw cause;
      await wait(20);
    }
  }
}

function unmountBeneath(dir: string): void {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replaceAll('\\040', ' '))
    .filter((point) => point === dir || point.startsWith(`${dir}/`));
  for (const point of points.reverse()) tryRun('umount', '--lazy', point);
}

/** The number in a pid file; undefined when there is none. */
export function readPid(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8').trim());
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
