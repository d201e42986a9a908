/**
 * The others that start the very same container: crun, runc and the bare kernel. Each gets a block of runs at a time, so
 * many of them at once, driven by a small C program (native/test/bound): no Node is in their way. Every exit status is
 * checked there. What a block needs and none of them would count as its own is made before and removed after it: bundles,
 * and the peers' mounted root file systems, which neither of them can mount itself.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configText } from '../../agent/runtime/config-text.ts';
import type { OciConfig } from '../../agent/runtime/oci-config.ts';
import { messageOf } from '../../common/errors.ts';
import { builtFile, native } from '../../native/index.ts';

/** What everybody runs. */
export interface Stage {
  readonly folder: string;
  /** Below it each container has its folder; spread over the disk, as the agent's is. */
  readonly stateDir: string;
  readonly layer: string;
  /** Below the root of every hierarchy; there. */
  readonly cgroup: string;
  /** A file with the system call filter that all run under; "-": none. */
  readonly filter: string;
  /** Whose user namespace has the ids `idBase` and on of the host. */
  readonly config: (id: string, args: readonly string[]) => OciConfig;
  readonly idBase: number;
}

export interface Block {
  /** Of each run, start to exit, in no order. */
  readonly ms: readonly number[];
  readonly startsPerSecond: number;
}

/** Not 0: an exit status that nobody gives by accident. */
export const EXIT_CODE = 7;
export const COMMAND = ['exit', String(EXIT_CODE)];
const DRIVER = 'bare-bound';

/** The system call filter of a running process, as the kernel keeps it. @throws where the kernel does not tell it */
export function filterOf(pid: number): Buffer {
  return execFileSync(builtFile(DRIVER), ['filter', String(pid)], { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** `count` runs, `atOnce` at a time, by the bare kernel. */
export function boundBlock(stage: Stage, count: number, atOnce: number): Block {
  const place = [stage.layer, stage.stateDir, `${stage.cgroup}/bound`, stage.filter, String(stage.idBase)];
  const args = [String(count), String(atOnce), ...place, String(EXIT_CODE), '/bin/init', ...COMMAND];
  return blockOf(execFileSync(builtFile(DRIVER), args, { encoding: 'utf8' }), count);
}

/** The same by the native core alone. */
export async function coreBlock(stage: Stage, count: number, atOnce: number): Promise<Block> {
  const ids = Array.from({ length: count + 1 }, (_, number) => `core${number}`);
  const bundles = join(stage.folder, 'bundles');
  for (const id of ids) {
    mkdirSync(join(bundles, id), { recursive: true });
    writeFileSync(join(bundles, id, 'config.json'), configText(stage.config(id, COMMAND)));
  }
  try {
    const place = [stage.layer, stage.stateDir, stage.cgroup, builtFile('covey-shim')];
    const args = [String(atOnce), String(EXIT_CODE), ...place];
    const input = ids.map((id) => `${join(bundles, id)}\n`).join('');
    return blockOf(execFileSync(builtFile('bare-core'), args, { encoding: 'utf8', input }), count);
  } finally {
    await native().removeTree(bundles);
    for (const id of ids) await native().removeTree(join(stage.stateDir, id));
  }
}

/** The same by a peer. @throws Error with the peer's own words when a run ends otherwise than it must */
export async function peerBlock(stage: Stage, peer: 'crun' | 'runc', count: number, atOnce: number): Promise<Block> {
  const ids = Array.from({ length: count }, (_, number) => `${peer}-${stage.cgroup.slice(1)}-${number}`);
  const bundles = ids.map((id) => join(stage.stateDir, id));
  try {
    for (const [number, bundle] of bundles.entries()) makeBundle(stage, bundle, ids[number] ?? '');
    const run = [
      peer,
      '--root',
      join(stage.folder, `${peer}-root`),
      'run',
      '--bundle',
      join(stage.stateDir, '{}'),
      '{}',
    ];
    const [program = '', ...args] = wrapped(peer, [
      builtFile(DRIVER),
      'each',
      String(atOnce),
      String(EXIT_CODE),
      ...run,
    ]);
    const text = execFileSync(program, args, { encoding: 'utf8', input: `${ids.join('\n')}\n` });
    return blockOf(text, count);
  } finally {
    for (const bundle of bundles) {
      execFileSync('umount', ['-q', '-l', join(bundle, 'rootfs')], { stdio: 'ignore' });
      await native().removeTree(bundle);
    }
  }
}

/** Why the peer cannot be measured; undefined when it can. */
export async function whyNot(stage: Stage, peer: 'crun' | 'runc'): Promise<string | undefined> {
  try {
    execFileSync(peer, ['--version'], { stdio: 'ignore' });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return `${peer} is not installed, so nothing is said about it: apt-get install ${peer}`;
  }
  try {
    await peerBlock(stage, peer, 1, 1);
    return undefined;
  } catch (cause) {
    const { stderr } = cause as { readonly stderr?: string };
    return `${peer} cannot run a container here, so nothing is said about it: ${(stderr || messageOf(cause)).trim()}`;
  }
}

function makeBundle(stage: Stage, bundle: string, id: string): void {
  for (const name of ['', 'upper', 'work', 'rootfs']) mkdirSync(join(bundle, name));
  chownSync(join(bundle, 'upper'), stage.idBase, stage.idBase);
  const layers = `lowerdir=${stage.layer},upperdir=${bundle}/upper,workdir=${bundle}/work,volatile`;
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, join(bundle, 'rootfs')]);
  const config = { ...stage.config(id, COMMAND), root: { path: 'rootfs', readonly: false } };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
}

/** crun gives up on hybrid hosts unless it sees no unified hierarchy; it gets a mount namespace without one. */
function wrapped(peer: string, command: readonly string[]): readonly string[] {
  if (peer !== 'crun') return command;
  const without = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"';
  return ['unshare', '-m', '--propagation', 'slave', 'sh', '-c', without, 'sh', ...command];
}

function blockOf(text: string, count: number): Block {
  const lines = text.trimEnd().split('\n');
  const all = Number(/^all (.+)$/.exec(lines.at(-1) ?? '')?.[1]);
  const ms = lines.slice(0, -1).map((line) => Number(line) / 1_000);
  if (ms.length !== count || !ms.every(Number.isFinite) || !(all > 0))
    throw new Error(`${DRIVER}: ${count} runs, but it said ${lines.length} lines`);
  return { ms, startsPerSecond: (count * 1e6) / all };
}
