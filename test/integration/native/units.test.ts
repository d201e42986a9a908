import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { builtFile, packageFile } from '../../../native/index.ts';

const BUILD = fileURLToPath(new URL('../../../native/build.mjs', import.meta.url));
/** Compiling with sanitizers takes half a minute on a quiet machine; the product is kept. */
const COMPILE_MS = 300_000;

it('reads every plan, config, passwd, mountinfo and answer without a sanitizer complaining', {
  timeout: COMPILE_MS,
}, () => {
  execFileSync(process.execPath, [BUILD, '--only', 'units'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const profile = packageFile('native/seccomp/default.json');
  const run = execFileSync(builtFile('native-units'), [profile, builtFile('covey-shim')], { encoding: 'utf8' });
  expect(run).toBe('all well\n');
});
