/**
 * What containers could leave behind on this machine, as lines of text; empty when there is nothing. Found by what only
 * they bear: their ids on command lines, their world's folder in mounts, its cgroup and its state folder.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { native } from '../../native/index.ts';
import type { NativeWorld } from './native-world.ts';

/** Of all containers of a world whose ids start with `mark`, which nothing else on the machine bears. */
export async function leftovers(world: NativeWorld, mark: string): Promise<readonly string[]> {
  const cgroups = await native().cgroupList(world.cgroupParent);
  return [
    ...processesOf(world, mark),
    ...read('/proc/self/mountinfo')
      .split('\n')
      .filter((line) => line.includes(world.folder))
      .map((line) => `mount ${line}`),
    ...cgroups.map((name) => `cgroup ${name}`),
    ...readdirSync(join(world.folder, 'state')).map((name) => `folder ${name}`),
  ];
}

/** Zombies of ours bear no command line any more; they are told by their name and parent. */
function processesOf(world: NativeWorld, mark: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const stat = read(`/proc/${pid}/stat`);
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const isZombie = state === 'Z' && parent === String(process.pid);
      const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
      const isOurs = command.includes(mark) || read(`/proc/${pid}/cgroup`).includes(world.cgroupParent);
      return isZombie || isOurs ? [`process ${pid} ${state} of ${parent}: ${command}`] : [];
    });
}

/** Empty for a process that has just ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
