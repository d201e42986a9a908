// `npm run test:vm`: the native core on Debian's own kernel, with cgroups as hosts of users mount them. Needs root, no KVM.
// Each test is a line of TAP beneath the name of its machine; the last line is `N passed, N failed`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundle, OUT, testsIn } from './bundle.mjs';
import { boot, CACHE, prepare, RAM_DISK } from './machine.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
/** Emulated, on a busy machine; what hangs ends here. */
const MACHINE_MS = 1_800_000;
/** How many times longer a condition is waited for than on the host. */
const PATIENCE = 10;
/** They build what they run. */
const ELSEWHERE = ['units', 'fuzz'].map((name) => `test/integration/native/${name}.test.ts`);

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { file: { type: 'string' }, help: { type: 'boolean' } },
});
const nativeTests = testsIn('test/integration/native').filter((file) => !ELSEWHERE.includes(file));
const systemdTests = testsIn('test/vm/systemd');
const resourceTests = testsIn('test/vm/resources');
const unifiedTests = [...testsIn('test/vm/unified'), ...testsIn('test/vm/quota'), ...testsIn('test/vm/volumes')];

/** Every machine: how it is booted, and the test files that run in it. */
const MACHINES = {
  v2: { wish: { cgroup: 'v2' }, files: [...nativeTests, ...resourceTests, ...unifiedTests] },
  hybrid: { wish: { cgroup: 'hybrid' }, files: nativeTests },
  v1: { wish: { cgroup: 'v1' }, files: [...nativeTests, ...resourceTests] },
  systemd: { wish: { cgroup: 'v2', systemd: true }, files: systemdTests },
  'systemd-hybrid': {
    wish: { cgroup: 'hybrid', systemd: true },
    files: systemdTests.filter((file) => file.includes('runtime')),
  },
  cluster: { wish: { cgroup: 'v2', steady: true, memoryMb: 2_048 }, files: testsIn('test/vm/cluster') },
  installed: {
    wish: { cgroup: 'v2', steady: true, systemd: true, memoryMb: 2_048 },
    files: testsIn('test/vm/installed'),
  },
};

if (flags.help === true || positionals.some((name) => !(name in MACHINES))) {
  console.log(`npm run test:vm [-- [--file PART-OF-A-NAME] [${Object.keys(MACHINES).join(' | ')}]…]`);
  process.exit(flags.help === true ? 0 : 2);
}

const hidden = ['/tmp/', '/run/'].find((folder) => `${root}/`.startsWith(folder));
if (hidden !== undefined) {
  console.error(
    `test:vm: ${root} cannot be seen in the machines, whose ${hidden} is new\n  run it in a copy elsewhere`,
  );
  process.exit(2);
}

/** A job that runs every file in a process of its own, because a process knows one shim only. */
function jobOf(bundles) {
  const tests = bundles.tests.map(
    (test) => `node ${bundles.suite} ${test}; [ $? -lt 2 ] || echo "not ok - ${test} did not end by itself"`,
  );
  return [
    `cd ${root}; export COVEY_TEST_PATIENCE=${PATIENCE}`,
    'if native/build/native-units native/seccomp/default.json native/build/covey-shim; then echo "ok - the parsers"; else echo "not ok - the parsers"; fi',
    ...tests,
  ].join('\n');
}

let passed = 0;
let failed = 0;

function tell(name, line) {
  if (line.startsWith('ok ')) passed += 1;
  if (line.startsWith('not ok ')) failed += 1;
  console.log(`${name}: ${line}`);
}

async function runMachine(name, folder) {
  const { wish, files } = MACHINES[name];
  const chosen = files.filter((file) => file.includes(flags.file ?? ''));
  if (chosen.length === 0) return;
  const job = join(folder, `${name}.sh`);
  writeFileSync(job, jobOf(await bundle(chosen)));
  const started = performance.now();
  const before = passed + failed;
  try {
    await boot({ ...wish, job }, MACHINE_MS, (line) => tell(name, line));
    if (passed + failed === before) tell(name, 'not ok - it ran no test');
  } catch (cause) {
    tell(name, `not ok - ${cause.message}`);
  }
  console.log(`${name}: took ${Math.round((performance.now() - started) / 1_000)} s`);
}

// Without these the machine would outlive us: only a process that exits runs its exit handlers.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
prepare();
for (const [script, ...flags] of [['deploy/build.mjs'], ['native/build.mjs', '--only', 'units']]) {
  const built = spawnSync(process.execPath, [join(root, script), ...flags], { stdio: 'inherit' });
  if (built.status !== 0) process.exit(1);
}
const folder = mkdtempSync(join(CACHE, 'jobs-'));
try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(MACHINES)) await runMachine(name, folder);
} finally {
  for (const made of [folder, OUT, RAM_DISK]) rmSync(made, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
