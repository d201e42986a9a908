// `npm test`: sets the machine up, checks the code, runs every test, and counts. Its last lines name each test that
// failed and why, for whoever sees the end of a long log only; the very last is `N passed, N failed`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { removeCrashed } from './crashed.mjs';
import { setUp } from './setup.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const only = process.argv.slice(2);
setUp({ tests: true });

let passed = 0;
let failed = 0;
let skipped = 0;
/** What failed, a name and its message in each. */
const failures = [];

/** Lines of a message that are repeated at the end: enough for an assertion and where it stands. */
const MESSAGE_LINES = 12;

const check = spawnSync(process.execPath, [join(root, 'deploy', 'check.mjs')], { cwd: root, stdio: 'inherit' });
if (check.status === 0) passed += 1;
else fail('check', 'a check of the code failed, see its output above');

const dir = mkdtempSync(join(tmpdir(), 'covey-test-'));
try {
  // One after the other: end-to-end tests measure a cluster, and must not share two cores with the simulator.
  for (const project of ['unit', 'sim', 'integration', 'e2e']) {
    if (only.length > 0 && !only.includes(project)) continue;
    const report = join(dir, `${project}.json`);
    const args = ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    console.log(`\n=== ${project}`);
    const result = spawnSync(join(root, 'node_modules', '.bin', 'vitest'), args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    count(project, report, result.status);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
  const removed = await removeCrashed();
  if (removed > 0) console.log(`\nremoved ${removed} leftovers of test processes that crashed`);
}
for (const { name, message } of failures) console.log(`\nfailed: ${name}\n${message}`);
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed === 0 ? 0 : 1);

function fail(name, message) {
  failed += 1;
  failures.push({ name, message: message.split('\n').slice(0, MESSAGE_LINES).join('\n') });
}

function count(project, report, status) {
  let results;
  try {
    results = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    if (status !== 0) fail(project, `vitest ended with ${status} and left no report`);
    return;
  }
  passed += results.numPassedTests;
  skipped += results.numPendingTests;
  const before = failed;
  for (const file of results.testResults) {
    const tests = file.assertionResults.filter((test) => test.status === 'failed');
    for (const test of tests) fail(`${project} ${file.name}: ${test.fullName}`, test.failureMessages.join('\n'));
    // A file that could not even be loaded has no test to fail.
    if (tests.length === 0 && file.status === 'failed') fail(`${project} ${file.name}`, file.message);
  }
  if (!results.success && failed === before) fail(project, 'an error outside of any test, see the output above');
}
