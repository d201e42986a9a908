// `npm test`: sets the machine up, checks the code, runs every test, and counts. The last line is `N passed, N failed`.
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

const check = spawnSync(process.execPath, [join(root, 'deploy', 'check.mjs')], { cwd: root, stdio: 'inherit' });
if (check.status === 0) passed += 1;
else failed += 1;

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
    count(report, result.status);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
  const removed = await removeCrashed();
  if (removed > 0) console.log(`\nremoved ${removed} leftovers of test processes that crashed`);
}
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed === 0 ? 0 : 1);

function count(report, status) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, success } = JSON.parse(readFileSync(report, 'utf8'));
    passed += numPassedTests;
    failed += numFailedTests;
    skipped += numPendingTests;
    // A file that could not even be loaded has no test to fail.
    if (!success && numFailedTests === 0) failed += 1;
  } catch {
    if (status !== 0) failed += 1;
  }
}
