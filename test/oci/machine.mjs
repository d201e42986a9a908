// The suite in a virtual machine with Debian's kernel, pure cgroup v1 and every capability; machine.sh completes it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boot, CACHE, prepare, RAM_DISK } from '../vm/machine.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** Where the machine has this host's root: its own /tmp and /run are new. */
const HOST = '/.host';
const MACHINE_MS = 3_600_000;
const MEMORY_MB = 3_072;
/**
 * Processes run on one processor, and the other is there for cpusets. Emulated processors share what was translated: who
 * executes a page of code first is slow, who comes second catches up, and programs that were started in turn would end in any.
 */
const WORDS = 'isolcpus=1';

function quoted(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function jobOf({ folder, names, runtime, against, limitMs, isVerbose }) {
  const args = ['--mount-controllers', '--complete', '--limit', String(limitMs / 1_000), '--runtime', HOST + runtime];
  for (const program of against) args.push('--against', HOST + program);
  if (isVerbose) args.push('--verbose');
  const command = [join(here, 'machine.sh'), 'node', join(here, 'main.mjs'), ...args, '--', HOST + folder, ...names];
  return `sh ${command.map(quoted).join(' ')}\n`;
}

/**
 * @param options as of judgeSuite
 * @returns the exit status that it has in the machine
 */
export async function judgeInMachine(options) {
  prepare();
  const folder = mkdtempSync(join(CACHE, 'jobs-'));
  // Also when a signal ends us: only a process that exits runs its exit handlers, and they end the machine too.
  process.once('exit', () => {
    for (const made of [folder, RAM_DISK]) rmSync(made, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  const job = join(folder, 'oci.sh');
  writeFileSync(job, jobOf(options));
  const started = performance.now();
  const status = await boot({ cgroup: 'v1', memoryMb: MEMORY_MB, words: WORDS, job }, MACHINE_MS, (line) =>
    console.log(line),
  );
  console.error(`the machine took ${Math.round((performance.now() - started) / 1_000)} s`);
  return status;
}
