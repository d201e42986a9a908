// Everything that reads the code without running it: layers, format, types, dead code, promises, C++. Exit 1 on any finding.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = (name) => join(root, 'node_modules', '.bin', name);

function nativeSources() {
  return [
    'native/src',
    'native/shim',
    'native/runtime',
    'native/fuzz',
    'native/test',
    'native/test/bound',
    'native/test/core',
    'native/test/faults',
    'native/test/init',
    'deploy/dev/web',
  ]
    .flatMap((dir) => {
      try {
        return readdirSync(join(root, dir)).map((name) => join(dir, name));
      } catch {
        return [];
      }
    })
    .filter((name) => /\.(cc|c|h)$/.test(name));
}

/** name, command, arguments */
const CHECKS = [
  ['biome.json is generated', bin('tsx'), ['deploy/lint/generate.ts', '--check']],
  ['biome', bin('biome'), ['ci', '--error-on-warnings', '.']],
  ['types', bin('tsc'), ['--noEmit', '-p', '.']],
  ['dead code', bin('knip'), ['--no-progress']],
  ['promises and switches', bin('oxlint'), ['--type-aware', '--config', 'deploy/lint/oxlint.json', '.']],
  ['C++ format', 'clang-format', ['--dry-run', '--Werror', ...nativeSources()]],
];

let failed = 0;
for (const [name, command, args] of CHECKS) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64e6 });
  const good = result.status === 0;
  console.log(`${good ? 'ok  ' : 'FAIL'} ${name}`);
  if (!good) {
    failed += 1;
    process.stdout.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`.slice(-12_000));
  }
}
console.log(`checks: ${CHECKS.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
