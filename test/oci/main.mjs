// `npm run test:oci -- DIR`: judges covey-runtime by a suite of validation programs such as opencontainers/runtime-tools'.
// DIR holds programs that end in .t, at any depth, which take the runtime's path from RUNTIME and print TAP; or it holds
// suite.tar.xz with such a folder. A line for each program; the last line is `N passed, N failed`. With --mount-controllers
// it sees the cgroup v1 hierarchies that the kernel has and nobody has mounted; with --vm all this happens in a virtual
// machine that has what the suite asks of a host.
import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mountControllers } from './controllers.mjs';
import { judgeInMachine } from './machine.mjs';
import { judgeSuite } from './suite.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const OWN_RUNTIME = join(here, '../../native/build/covey-runtime');
const USAGE = `npm run test:oci -- [OPTION…] DIR [NAME…]
  --vm                  in a virtual machine that lacks nothing the suite asks for (5 to 20 minutes)
  --mount-controllers   the cgroup v1 hierarchies of net_cls, net_prio and hugetlb, for this run alone
  --complete            excuses no program by what this host lacks; so it is with --vm
  --runtime PROGRAM     another runtime than covey-runtime
  --against PROGRAM     also this one, program by program; ends with 1 when it passes a check that fails here
  --limit SECONDS       after which a program is killed: 60, with --vm 300
  --verbose             what dirty programs print`;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    vm: { type: 'boolean' },
    'mount-controllers': { type: 'boolean' },
    complete: { type: 'boolean' },
    runtime: { type: 'string' },
    against: { type: 'string', multiple: true },
    limit: { type: 'string' },
    verbose: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
const [folder, ...names] = positionals;
const isInMachine = flags.vm === true;
const limit = Number(flags.limit ?? (isInMachine ? 300 : 60));
if (folder === undefined || flags.help === true || !(limit > 0)) {
  console.log(USAGE);
  process.exit(flags.help === true ? 0 : 2);
}
const options = {
  folder: resolve(folder),
  names,
  runtime: resolve(flags.runtime ?? OWN_RUNTIME),
  against: (flags.against ?? []).map((program) => resolve(program)),
  limitMs: limit * 1_000,
  isComplete: flags.complete === true,
  isVerbose: flags.verbose === true,
};

/** Whether we have mounts of our own: what another process of this host would see must not come and go. */
function isApart() {
  const mountsOf = (pid) => readlinkSync(`/proc/${pid}/ns/mnt`);
  return mountsOf('self') !== mountsOf(process.ppid);
}

/** This program again, with mounts of its own. */
function runApart() {
  const args = ['--mount', '--propagation', 'slave', process.execPath, ...process.argv.slice(1)];
  const { status, error } = spawnSync('unshare', args, { stdio: 'inherit' });
  if (error !== undefined) throw error;
  return status ?? 1;
}

async function main() {
  if (isInMachine) return judgeInMachine(options);
  if (flags['mount-controllers'] !== true) return judgeSuite(options);
  if (!isApart()) return runApart();
  const unmount = mountControllers();
  try {
    return judgeSuite(options);
  } finally {
    unmount();
  }
}

try {
  process.exitCode = await main();
} catch (cause) {
  console.error(`test:oci: ${cause.message}`);
  process.exitCode = 2;
}
