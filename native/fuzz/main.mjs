// `npm run fuzz [-- TARGET…] [--seconds N] [--inputs N] [--seed N] [--jobs N]`: every parser, or some, N of them side by side: those
// of the native core under libFuzzer with ASan and UBSan, those in TypeScript by test/fuzz.
// Inputs that reach new code stay in native/build/fuzz/TARGET, so that the next run starts where this one ended; a
// finding is kept there as crash-…, and its bytes belong into a unit test (of TypeScript: into test/fuzz/corpus). The last line is `N passed, N failed`.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const native = dirname(here);
const program = join(native, 'build', 'native-fuzz');
const scripted = join(dirname(native), 'test', 'fuzz', 'main.ts');
/** Longer inputs only make each run slower; every format here repeats itself well before. */
const INPUT_MAX = 16_384;
const MEMORY_MB = 2_048;
/** One input that takes longer is a finding: an agent waits for it. */
const INPUT_SECONDS = 10;

const USAGE = 'usage: npm run fuzz [-- TARGET…] [--seconds N] [--inputs N] [--seed N] [--jobs N]';

function argumentsGiven() {
  const options = {
    seconds: { type: 'string', default: '60' },
    inputs: { type: 'string', default: '-1' },
    seed: { type: 'string', default: '0' },
    jobs: { type: 'string', default: '1' },
  };
  try {
    return parseArgs({ allowPositionals: true, options });
  } catch (cause) {
    console.error(`${cause.message}\n${USAGE}`);
    return process.exit(2);
  }
}

const { values: flags, positionals } = argumentsGiven();
for (const name of ['seconds', 'jobs']) {
  if (/^[1-9]\d{0,8}$/.test(flags[name])) continue;
  console.error(`--${name} ${flags[name]} is not a whole number from 1`);
  process.exit(2);
}

/** A program's own list, which it prints when it is not told a target. */
function targetsOf(command, args, env) {
  const { stderr } = spawnSync(command, args, { encoding: 'utf8', env });
  return [...stderr.matchAll(/^([a-z-]+)$/gm)].map((match) => match[1]);
}

const SCRIPT = ['--import', 'tsx', scripted];

/** The fuzzer's status and what it said. */
async function run(target, corpus) {
  const seeds = join(here, 'corpus', target);
  const fuzzer = spawn(
    program,
    [
      ...[corpus, ...(existsSync(seeds) ? [seeds] : [])],
      ...[`-max_total_time=${flags.seconds}`, `-runs=${flags.inputs}`, `-seed=${flags.seed}`, `-max_len=${INPUT_MAX}`],
      ...[`-rss_limit_mb=${MEMORY_MB}`, `-timeout=${INPUT_SECONDS}`, `-dict=${join(here, 'oci.dict')}`],
      ...[`-artifact_prefix=${corpus}/`, '-print_final_stats=1', '-verbosity=1'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, COVEY_FUZZ: target } },
  );
  let said = '';
  fuzzer.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const [status] = await once(fuzzer, 'close');
  return { status, said };
}

/** Whether nothing was found; tells the numbers, and else what libFuzzer said. */
async function fuzz(target) {
  const corpus = join(native, 'build', 'fuzz', target);
  mkdirSync(corpus, { recursive: true });
  const { status, said } = await run(target, corpus);
  const runs = /stat::number_of_executed_units:\s+(\d+)/.exec(said)?.[1] ?? '0';
  const rate = /stat::average_exec_per_sec:\s+(\d+)/.exec(said)?.[1] ?? '0';
  const covered = [...said.matchAll(/cov: (\d+)/g)].at(-1)?.[1] ?? '0';
  console.log(`${status === 0 ? 'ok' : 'not ok'} - ${target}: ${runs} inputs, ${rate}/s, ${covered} edges`);
  if (status !== 0) console.log(said.slice(-4_000));
  return status === 0;
}

/** The same of a target in TypeScript, which tells its numbers itself. */
async function fuzzScripted(target) {
  const seed = flags.seed === '0' ? [] : [`--seed=${flags.seed}`];
  const bounds = [`--seconds=${flags.seconds}`, `--inputs=${flags.inputs}`, ...seed];
  const args = [...SCRIPT, target, ...bounds, '--corpus', join(native, 'build', 'fuzz')];
  const fuzzer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  fuzzer.stdout.on('data', (chunk) => {
    said += chunk;
  });
  const [status] = await once(fuzzer, 'close');
  console.log(said.replace(/\d+ passed, \d+ failed\n$/, '').trimEnd());
  if (said === '') console.log(`not ok - ${target}: it ended with ${status} and no word`);
  return status === 0;
}

const inTypeScript = targetsOf(process.execPath, SCRIPT, process.env);
const needsNative = positionals.length === 0 || positionals.some((name) => !inTypeScript.includes(name));
if (needsNative) buildNative();
const known = [...(needsNative ? targetsOf(program, [], {}) : []), ...inTypeScript];

function buildNative() {
  const build = spawnSync(process.execPath, [join(native, 'build.mjs'), '--only', 'fuzz'], { stdio: 'inherit' });
  if (build.status !== 0) process.exit(1);
}

const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`no fuzz target ${unknown.join(', ')}; there are: ${known.join(' ')}`);
  process.exit(2);
}
let failed = 0;
const chosen = positionals.length > 0 ? positionals : known;
const waiting = [...chosen];
async function work() {
  for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
    if (!(await (inTypeScript.includes(target) ? fuzzScripted : fuzz)(target))) failed += 1;
  }
}
await Promise.all(Array.from({ length: Number(flags.jobs) }, work));
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
