// clang-tidy over every C and C++ file, two at a time. Exit 1 on any finding. `npm run check:tidy`.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const nodeInclude = join(dirname(dirname(process.execPath)), 'include', 'node');
const CXX = ['-std=c++20', `-I${nodeInclude}`, '-Inode_modules/node-addon-api', '-DNAPI_CPP_EXCEPTIONS'];
// The parts of covey-shim-faults look for the shim's headers; REPORTS is what native/build.mjs says to test/asan.
const C = ['-std=c17', '-D_GNU_SOURCE', '-iquotenative/shim', '-DCOVEY_FAULTS', '-DREPORTS=""'];
const FOLDERS = [
  'native/src',
  'native/shim',
  'native/fuzz',
  'native/runtime',
  'native/test',
  'native/test/bound',
  'native/test/core',
  'native/test/faults',
  'native/test/init',
  'native/test/version1',
  'test/asan',
  'deploy/dev/web',
  'test/integration/network',
  'test/bench',
];

const files = FOLDERS.filter((dir) => existsSync(join(root, dir)))
  .flatMap((dir) => readdirSync(join(root, dir)).map((name) => join(dir, name)))
  .filter((name) => /\.(cc|c)$/.test(name));

/** What clang-tidy finds in one file; empty when it is clean. */
function findings(file) {
  const flags = file.endsWith('.cc') ? CXX : C;
  const child = spawn('clang-tidy', ['--quiet', file, '--', ...flags], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => done(code === 0 ? '' : text || `${file}: clang-tidy ended with ${code}`));
  });
}

let found = 0;
const waiting = [...files];
async function worker() {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const text = await findings(file);
    if (text === '') continue;
    found += 1;
    console.log(text.trimEnd());
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, worker));
console.log(`clang-tidy: ${files.length - found} files clean, ${found} with findings`);
process.exit(found === 0 ? 0 : 1);
