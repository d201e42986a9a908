// `npm run test:asan [-- PART-OF-A-FILE-NAME…]`: the native core with AddressSanitizer and UndefinedBehaviorSanitizer. The
// parsers' units first, then the tests of the core with shims compiled so: containers, commands, logs, restarts,
// attacks, faults. Needs root. The exit status is 0 when all pass and no sanitizer has reported anything.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const tests = 'test/integration/native';
const built = join(root, 'native/build/asan');
const reports = join(built, 'reports');
/** They build what they run, or judge times of the whole. */
const ELSEWHERE = ['units', 'fuzz', 'limits'].map((name) => `${name}.test.ts`);
/** By name, tests of the shim's own size and speed, which a sanitizer changes. */
const SIZES = ['a gigabyte of output', 'gives its memory back', 'every command of a race'];
/**
 * The log's thread is begun before the container's process is cloned, without fork(3): a lock of the sanitizer's own that the
 * new thread holds at that moment is never released in the clone. musl and the shim have none such.
 */
const THREADS = ['its mode is non-blocking', 'without blocking while'];
const NOT_HERE = [...SIZES, ...THREADS];

function run(command, args, env = {}) {
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status === null) process.exitCode = signal === 'SIGINT' ? 130 : 1;
  return status === 0;
}

const build = join(root, 'native/build.mjs');
for (const part of [[], ['--only', 'units'], ['--only', 'asan']]) {
  if (!run(process.execPath, [build, ...part])) process.exit(1);
}
// It takes the shim that lies beside it.
copyFileSync(join(root, 'native/build/covey-runtime'), join(built, 'covey-runtime'));
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports);

const wanted = process.argv.slice(2);
const files = readdirSync(join(root, tests))
  .filter((name) => name.endsWith('.test.ts') && !ELSEWHERE.includes(name))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .map((name) => `${tests}/${name}`);
const units = run(join(root, 'native/build/native-units'), [
  join(root, 'native/seccomp/default.json'),
  join(root, 'native/build/covey-shim'),
]);
const pattern = `^(?!.*(${NOT_HERE.join('|')})).*$`;
const passed = run(
  join(root, 'node_modules/.bin/vitest'),
  ['run', '--project', 'integration', '-t', pattern, ...files],
  {
    COVEY_TEST_BUILD: built,
  },
);
const found = existsSync(reports) ? readdirSync(reports) : [];
for (const name of found) console.log(`\n${name}:\n${readFileSync(join(reports, name), 'utf8')}`);
console.log(found.length === 0 ? 'no sanitizer has reported anything' : `${found.length} reports of sanitizers`);
if (!units || !passed || found.length > 0) process.exitCode ||= 1;
