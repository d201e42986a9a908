// Runs the programs of a suite with a runtime, and with others for comparison; a line for each program.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { removeCgroups } from './controllers.mjs';
import { failuresOf, judged, worseThan } from './tap.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** As often a program is tried that is known to be a race of the suite's own. */
const TRIES = 3;

/** Why programs may be dirty: the suite, its races, the kernel, the host; docs/oci-validation.md shows it. */
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
  else if (spawnSync('tar', ['xJf', archive, '-C', work], { stdio: 'inherit' }).status !== 0)
    throw new Error(`${archive} cannot be unpacked`);
  return work;
}

/** A runtime with a folder of its own for what containers leave. */
function runtimeWithRoot(program, work) {
  const root = join(work, 'containers');
  const path = join(work, basename(program));
  mkdirSync(root, { recursive: true });
  writeFileSync(path, `#!/bin/sh\nexec '${program}' --root '${root}' "$@"\n`, { mode: 0o755 });
  return { name: basename(program), path, root };
}

function removeLeft(runtime, bundles) {
  for (const id of readdirSync(runtime.root)) spawnSync(runtime.path, ['delete', '--force', id], { stdio: 'inherit' });
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${bundles}/`));
  for (const path of mounts.reverse()) spawnSync('umount', ['-l', path], { stdio: 'inherit' });
}

/** Why a dirty program is nobody's surprise; undefined when it is one. */
function excuseOf(name, isComplete) {
  return known.suite[name] ?? known.races[name] ?? known.kernel[name] ?? (isComplete ? undefined : known.host[name]);
}

/** Runs one program once; what it has started is killed with it when its time is up. */
function runOnce(name, runtime, { programs, suite, bundles, limitMs, isComplete }) {
  const env = { ...process.env, TMPDIR: bundles, RUNTIME: runtime.path };
  // In the machine what races runs on one processor, where it goes in turn: machine.mjs says why.
  const bound = isComplete && name in known.races ? ['taskset', '--cpu-list', '0'] : [];
  const args = ['--signal', 'KILL', String(limitMs / 1_000), ...bound, programs.get(name)];
  const ran = spawnSync('timeout', args, { cwd: suite, env, encoding: 'utf8' });
  if (ran.error !== undefined) throw ran.error;
  removeLeft(runtime, bundles);
  const late = ran.signal === 'SIGKILL' ? `killed after ${limitMs / 1_000} s\n` : '';
  const text = `${ran.stdout}${ran.stderr}${late}`;
  return { text, ...judged(text, ran.status) };
}

/** Runs one program, one of the suite's races until it is clean or TRIES are over. */
function runProgram(name, runtime, place) {
  const tries = name in known.races ? TRIES : 1;
  for (let at = 1; ; at += 1) {
    const outcome = runOnce(name, runtime, place);
    if (outcome.isClean || at === tries) return { ...outcome, at };
  }
}

/** What a line says beside verdict and counts. */
function remarkOf(name, { isClean, at }, isComplete) {
  if (isClean) return at === 1 ? '' : `  at the ${at === 2 ? '2nd' : '3rd'} try: ${known.races[name]}`;
  const excuse = excuseOf(name, isComplete);
  return excuse === undefined ? '' : `  ${excuse}${at > 1 ? `, lost ${at} times` : ''}`;
}

function tell(name, runtime, outcome, options) {
  const { passed, failed, isClean, text } = outcome;
  const counts = `${String(passed).padStart(4)} ok ${String(failed).padStart(3)} not ok`;
  const whose = options.against.length > 0 ? `${runtime.name.padEnd(14)}` : '';
  const verdict = isClean ? 'clean' : 'dirty';
  console.log(`${verdict} ${whose}${name.padEnd(32)} ${counts}${remarkOf(name, outcome, options.isComplete)}`);
  if (options.isVerbose && !isClean) console.log(failuresOf(text).replaceAll(/^/gm, '      '));
}

/** Runs a program with every runtime; what others do better is told. */
function compare(name, [own, ...others], place, options) {
  const ours = runProgram(name, own, place);
  tell(name, own, ours, options);
  const theirs = others.map((other) => {
    const outcome = runProgram(name, other, place);
    tell(name, other, outcome, options);
    const checks = worseThan(ours.text, outcome.text);
    if (outcome.isClean && !ours.isClean && checks.length === 0) checks.push('the program as a whole');
    for (const check of checks) console.log(`      ${other.name} is better: ${check}`);
    return { isClean: outcome.isClean, isBetter: checks.length > 0 };
  });
  return { name, isClean: ours.isClean, at: ours.at, theirs };
}

function sumUp(outcomes, others, options) {
  const surprises = outcomes.filter(
    ({ name, isClean }) => !isClean && excuseOf(name, options.isComplete) === undefined,
  );
  const better = outcomes.filter(({ theirs }) => theirs.some(({ isBetter }) => isBetter));
  const namesOf = (some) => some.map(({ name }) => name).join(' ');
  for (const [at, other] of others.entries())
    console.log(`${other.name}: ${outcomes.filter(({ theirs }) => theirs[at].isClean).length} clean`);
  if (others.length > 0) console.log(`checks that another passes and we do not: ${namesOf(better) || 'none'}`);
  const late = outcomes.filter(({ isClean, at }) => isClean && at > 1);
  if (late.length > 0) console.log(`clean only when tried again: ${namesOf(late)}`);
  if (surprises.length > 0) console.log(`not known to be another's fault: ${namesOf(surprises)}`);
  const failed = outcomes.filter(({ isClean }) => !isClean).length;
  console.log(`${outcomes.length - failed} passed, ${failed} failed`);
  return surprises.length === 0 && better.length === 0 ? 0 : 1;
}

/**
 * @param options `folder` of the suite; `names` of programs, none for all; `runtime` and those `against` it (absolute
 *   paths); `limitMs` for a program; `isComplete`: no program is excused by what hosts lack; `isVerbose`
 * @returns the exit status. @throws when there is no such program or runtime
 */
export function judgeSuite(options) {
  const missing = [options.runtime, ...options.against].find((program) => !existsSync(program));
  if (missing !== undefined) throw new Error(`there is no ${missing}; covey-runtime is built with npm run build`);
  const work = mkdtempSync(join(tmpdir(), `covey-test-${process.pid}-`));
  const bundles = join(work, 'bundles');
  for (const name of ['bundles', 'suite']) mkdirSync(join(work, name));
  const runtimes = [options.runtime, ...options.against].map((program) =>
    runtimeWithRoot(program, join(work, basename(program))),
  );
  try {
    const suite = suiteAt(options.folder, join(work, 'suite'));
    const programs = programsIn(suite);
    if (programs.size === 0) throw new Error(`${options.folder} holds no program that ends in .t`);
    const names = options.names.length > 0 ? options.names : [...programs.keys()];
    const unknown = names.find((name) => !programs.has(name));
    if (unknown !== undefined) throw new Error(`${options.folder} has no program ${unknown}`);
    const place = { suite, bundles, programs, limitMs: options.limitMs, isComplete: options.isComplete };
    const outcomes = names.map((name) => compare(name, runtimes, place, options));
    return sumUp(outcomes, runtimes.slice(1), options);
  } finally {
    for (const runtime of runtimes) removeLeft(runtime, bundles);
    removeCgroups();
    rmSync(work, { recursive: true, force: true });
  }
}
