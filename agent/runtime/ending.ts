/** How a container is brought to its end by force. */
import { constants } from 'node:os';
import type { Clock } from '../../common/clock.ts';
import type { ContainerIdentity } from '../../native/container.ts';
import type { Addon } from '../../native/index.ts';

/** Longer than a killed process takes to end, unless it is frozen. */
const WITHIN_MS = 100;

/**
 * Kills shim and first process, which takes its pid namespace with it, and waits a moment for both: here that costs
 * nothing, in cgroupRemove a thread. What is frozen dies only there. The shim first: it would go on to write a log and a
 * record that nobody will read.
 */
export async function endSoon(
  addon: Pick<Addon, 'signal' | 'watchProcess'>,
  clock: Clock,
  { pid, startTime, shimPid, shimStartTime }: ContainerIdentity,
): Promise<void> {
  const processes = [
    { pid: shimPid, startTime: shimStartTime },
    { pid, startTime },
  ];
  for (const each of processes) addon.signal(each.pid, each.startTime, constants.signals.SIGKILL);
  const watches = processes.map((each) => addon.watchProcess(each.pid, each.startTime));
  const cancel = clock.after(WITHIN_MS, () => {
    for (const watch of watches) watch.cancel();
  });
  await Promise.all(watches.map((watch) => watch.ended));
  cancel();
}
