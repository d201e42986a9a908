/**
 * Where the containers' cgroups live.
 *
 * Under systemd: a delegated scope of its own in covey.slice, never beneath the agent's unit, because a unit with
 * populated children cannot be restarted on cgroup v2. The scope lives as long as a process in it does, so one that
 * only sleeps holds it. Without systemd: the configured path, directly.
 * Source: systemd's "Control Group APIs and Delegation"; org.freedesktop.systemd1(5), StartTransientUnit.
 */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { Addon } from '../../native/index.ts';

const SCOPE = 'covey-containers.scope';
const SLICE = 'covey.slice';
/** sd_booted(3). */
const SYSTEMD = '/run/systemd/system';
/** The leaf in the scope where its holder sits: on v2 a cgroup that hands controllers on takes no process itself. */
const HOLDER = 'hold';
/** systemd makes the scope as a job after it has answered; it takes milliseconds. */
const LOOKS_MAX = 100;

export interface CgroupParentOptions {
  /** Absolute, below the root of every hierarchy, such as `/covey`; used without systemd. */
  readonly configured: string;
  readonly addon: Addon;
  readonly shimPath: string;
  /** Runs a program and gives its standard output; rejects when it fails. */
  readonly run: (command: string, args: readonly string[]) => Promise<string>;
  readonly sleep: (ms: number) => Promise<void>;
  /** For tests; default: whether systemd runs this host. */
  readonly hasSystemd?: boolean;
}

/**
 * The path below which containers get their cgroups, ready for use. An existing scope is taken over, never replaced.
 *
 * @throws ClusterError `unavailable` when systemd refuses the scope
 */
export async function cgroupParent(options: CgroupParentOptions): Promise<string> {
  const path = (options.hasSystemd ?? existsSync(SYSTEMD)) ? await scope(options) : options.configured;
  await options.addon.cgroupEnsureParent(path);
  return path;
}

async function scope(options: CgroupParentOptions): Promise<string> {
  const found = await controlGroupOf(options);
  if (found !== '') return found;
  const holder = await options.addon.holdScope(options.shimPath);
  try {
    // busctl's words: method signature, name, mode, four properties, no auxiliary units.
    const properties = ['4', 'PIDs', 'au', '1', String(holder), 'Delegate', 'b', 'true', 'Slice', 's', SLICE];
    const manager = ['org.freedesktop.systemd1', '/org/freedesktop/systemd1', 'org.freedesktop.systemd1.Manager'];
    const description = ['Description', 's', 'Containers of Covey'];
    const call = ['StartTransientUnit', 'ssa(sv)a(sa(sv))', SCOPE, 'fail', ...properties, ...description, '0'];
    await options.run('busctl', ['call', '--quiet', ...manager, ...call]);
  } catch (cause) {
    throw new ClusterError('unavailable', `systemd refuses ${SCOPE}: ${messageOf(cause)}`, {
      hint: `look at: systemctl status ${SCOPE}`,
      cause,
    });
  }
  for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
    const path = await controlGroupOf(options);
    if (path !== '') {
      await moveHolder(options, path, holder);
      return path;
    }
    await options.sleep(20);
  }
  throw new ClusterError('unavailable', `systemd has not made ${SCOPE}`, {
    hint: `look at: systemctl status ${SCOPE}`,
  });
}

/** Empty when there is no such scope, or nothing lives in it. */
async function controlGroupOf(options: CgroupParentOptions): Promise<string> {
  return (await options.run('systemctl', ['show', '--property=ControlGroup', '--value', SCOPE])).trim();
}

async function moveHolder(options: CgroupParentOptions, path: string, holder: number): Promise<void> {
  const folder = options.addon.cgroupFolder('', path);
  // On v1 the scope exists in systemd's own hierarchy only, and processes may sit anywhere.
  if (folder === null) return;
  await mkdir(join(folder, HOLDER), { recursive: true });
  await writeFile(join(folder, HOLDER, 'cgroup.procs'), String(holder));
}
