/**
 * Runs test files inside a virtual machine, one after the other: `node suite.js NAME=FILE…`. Each test is a line of TAP;
 * the last one is `# N passed, N failed`. The files are bundles that test/vm/bundle.mjs has made.
 */
import { pathToFileURL } from 'node:url';
import { startTests, type Test, type VitestRunner } from '@vitest/runner';

/** A process starts twenty times slower than on the host, Node ten times. */
const TIMEOUT_MS = 1_200_000;

class TapRunner implements VitestRunner {
  readonly config: VitestRunner['config'] = {
    root: process.cwd(),
    setupFiles: [],
    name: undefined,
    passWithNoTests: false,
    testNamePattern: undefined,
    allowOnly: false,
    sequence: { seed: 1, hooks: 'stack', setupFiles: 'list' },
    chaiConfig: undefined,
    maxConcurrency: 1,
    testTimeout: TIMEOUT_MS,
    hookTimeout: TIMEOUT_MS,
    retry: 0,
    includeTaskLocation: false,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  };
  passed = 0;
  failed = 0;

  importFile(path: string): Promise<unknown> {
    return import(pathToFileURL(path).href);
  }

  onAfterRunTask(test: Test): void {
    const isGood = test.result?.state === 'pass';
    this.say(isGood, nameOf(test), test.result?.errors);
  }

  say(isGood: boolean, name: string, errors: readonly { readonly message: string }[] = []): void {
    if (isGood) this.passed += 1;
    else this.failed += 1;
    process.stdout.write(`${isGood ? 'ok' : 'not ok'} ${this.passed + this.failed} - ${name}\n`);
    for (const { message } of errors) process.stdout.write(`${message.replaceAll(/^/gm, '  # ')}\n`);
  }
}

function nameOf(test: Test): string {
  const names = [test.name];
  for (let suite = test.suite; suite !== undefined; suite = suite.suite) names.unshift(suite.name);
  return names.join(' > ');
}

const runner = new TapRunner();
/** A test may wait for nothing but a clock of ours, which keeps no process alive. */
setInterval(() => {}, TIMEOUT_MS);
for (const path of process.argv.slice(2)) {
  const [file] = await startTests([path], runner);
  // What fails outside of a test, such as a hook or the import itself.
  if (file?.result?.errors !== undefined) runner.say(false, path, file.result.errors);
  for (const suite of file?.tasks ?? [])
    if (suite.type === 'suite' && suite.result?.errors !== undefined)
      runner.say(false, suite.name, suite.result.errors);
}
process.stdout.write(`# ${runner.passed} passed, ${runner.failed} failed\n`);
process.exit(runner.failed === 0 ? 0 : 1);
