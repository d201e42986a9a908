import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const FUZZ = fileURLToPath(new URL('../../../native/fuzz/main.mjs', import.meta.url));
/** Compiling takes most of a minute on a busy machine; the product is kept. */
const COMPILE_MS = 600_000;

it('takes no harm from what a fuzzer makes of configs, answers and output in a thousand tries each', {
  timeout: COMPILE_MS,
}, () => {
  const said = execFileSync(process.execPath, [FUZZ, '--inputs', '1000', '--jobs', '2'], { encoding: 'utf8' });
  expect(said).toMatch(/\n\d+ passed, 0 failed\n$/);
});
