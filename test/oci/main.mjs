// `npm run test:oci -- DIR`: judges covey-runtime by a suite of validation programs such as opencontainers/runtime-tools'.
// DIR holds programs that end in .t, at any depth, which take the runtime's path from RUNTIME and print TAP; or it holds
// suite.tar.xz with such a folder. A line for each program; the last line is `N passed, N failed`. With --mount-controllers
// the cgroup v1 hierarchies that the kernel has and nobody has mounted are there meanwhile.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const OWN_RUNTIME = join(here, '../../native/build/covey-runtime');
const USAGE = 'npm run test:oci -- [--runtime PROGRAM] [--mount-controllers] [--verbose] DIR [NAME…]';
/** A program that hangs ends here. */
const PROGRAM_MS = 60_000;
const CGROUPS = '/sys/fs/cgroup';
const LOOKS_MAX = 100;
const LOOK_MS = 100;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runtime: { type: 'string' },
    'mount-controllers': { type: 'boolean' },
    verbose: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
const [folder, ...wanted] = positionals;
if (folder === undefined || flags.help === true) {
  console.log(USAGE);
  process.exit(flags.help === true ? 0 : 2);
}

/** The faults of a suite or a kernel, by program; docs/oci-validation.md says why. */
const known = JSON.parse(readFileSync(join(here, 'known.json'), 'utf8'));

/** Every program below a folder, by its name. */
function programsIn(place) {
  const paths = readdirSync(place, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.t'));
  return new Map(paths.map((path) => [basename(path, '.t'), join(place, path)]).sort());
}

/** A copy that may be written into: programs run in it, beside the root file system that they unpack. */
function suiteAt(place, work) {
  const archive = join(place, 'suite.tar.xz');
  if (!existsSync(archive)) cpSync(place, work, { recursive: true });
  else if (spawnSync('tar', ['xJf', archive, '-C', work], { stdio: 'inherit' }).status !== 0) process.exit(2);
  return work;
}

/** The program's verdict by what it printed: quiet ones say nothing but an error. */
function judged(text, status) {
  const count = (pattern) => text.match(pattern)?.length ?? 0;
  const [passed, failed] = [count(/^ok /gm), count(/^not ok /gm)];
  return { passed, failed, isClean: status === 0 && failed === 0 && (passed > 0 || !text.includes('"error":')) };
}

/** The row of a controller in /proc/cgroups: name, hierarchy, cgroups, enabled. */
function rowOf(controller) {
  const rows = readFileSync('/proc/cgroups', 'utf8')
    .split('\n')
    .map((line) => line.split('\t'));
  return rows.find(([name]) => name === controller) ?? [];
}

/** Mounts the controllers that suites of cgroup v1 look for and that are free; what undoes it. */
function mountControllers() {
  const isFree = (name) => rowOf(name)[1] === '0' && !existsSync(join(CGROUPS, name));
  const places = ['net_cls', 'net_prio', 'hugetlb'].filter(isFree).map((name) => join(CGROUPS, name));
  for (const place of places) {
    mkdirSync(place);
    spawnSync('mount', ['-t', 'cgroup', '-o', basename(place), 'cgroup', place], { stdio: 'inherit' });
  }
  return () => {
    for (const place of places) {
      spawnSync('find', [place, '-mindepth', '1', '-depth', '-type', 'd', '-delete'], { stdio: 'inherit' });
      // A hierarchy whose last cgroup is still on its way out would stay for ever.
      for (let looks = 0; rowOf(basename(place))[2] !== '1' && looks < LOOKS_MAX; looks += 1) pause();
      spawnSync('umount', [place], { stdio: 'inherit' });
      rmdirSync(place);
    }
  };
}

function pause() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
}

/** The runtime with a folder of its own for what containers leave. */
function runtimeWithRoot(work) {
  const program = resolve(flags.runtime ?? OWN_RUNTIME);
  if (!existsSync(program)) throw new Error(`there is no ${program}; build it with npm run build`);
  const root = join(work, 'containers');
  const path = join(work, 'runtime');
  writeFileSync(path, `#!/bin/sh\nexec '${program}' --root '${root}' "$@"\n`, { mode: 0o755 });
  return { path, root };
}

function removeLeft(runtime, bundles) {
  for (const id of existsSync(runtime.root) ? readdirSync(runtime.root) : [])
    spawnSync(runtime.path, ['delete', '--force', id], { stdio: 'inherit' });
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${bundles}/`));
  for (const path of mounts.reverse()) spawnSync('umount', ['-l', path], { stdio: 'inherit' });
}

function run() {
  const work = mkdtempSync(join(tmpdir(), `covey-test-${process.pid}-`));
  const bundles = join(work, 'bundles');
  mkdirSync(bundles);
  mkdirSync(join(work, 'suite'));
  const runtime = runtimeWithRoot(work);
  try {
    const suite = suiteAt(resolve(folder), join(work, 'suite'));
    const programs = programsIn(suite);
    const names = wanted.length > 0 ? wanted : [...programs.keys()];
    const outcomes = names.map((name) => tell(name, programs.get(name), { suite, bundles, runtime }));
    if (names.length === 0) throw new Error(`${folder} holds no program that ends in .t`);
    const failed = outcomes.filter((isClean) => !isClean).length;
    const surprises = names.filter((name, at) => !outcomes[at] && known[name] === undefined);
    if (surprises.length > 0) console.log(`not known to be another's fault: ${surprises.join(' ')}`);
    console.log(`${names.length - failed} passed, ${failed} failed`);
    return surprises.length === 0 ? 0 : 1;
  } finally {
    removeLeft(runtime, bundles);
    rmSync(work, { recursive: true, force: true });
  }
}

/** Runs one program and prints its line. */
function tell(name, program, { suite, bundles, runtime }) {
  if (program === undefined) throw new Error(`${folder} has no program ${name}`);
  const env = { ...process.env, TMPDIR: bundles, RUNTIME: runtime.path };
  const ran = spawnSync(program, { cwd: suite, env, encoding: 'utf8', timeout: PROGRAM_MS, killSignal: 'SIGKILL' });
  const text = `${ran.stdout}${ran.stderr}`;
  const { passed, failed, isClean } = judged(text, ran.status);
  const counts = `${String(passed).padStart(4)} ok ${String(failed).padStart(3)} not ok`;
  console.log(`${isClean ? 'clean' : 'dirty'} ${name.padEnd(32)} ${counts}${isClean ? '' : `  ${known[name] ?? ''}`}`);
  if (flags.verbose === true && !isClean)
    console.log(text.replaceAll(/^(ok |1\.\.).*\n/gm, '').replaceAll(/^/gm, '      '));
  removeLeft(runtime, bundles);
  return isClean;
}

const unmount = flags['mount-controllers'] === true ? mountControllers() : () => undefined;
try {
  process.exitCode = run();
} finally {
  unmount();
}
