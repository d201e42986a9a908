// Bundles test files for virtual machines: each becomes one plain file beside the native core, so that nothing is
// transformed and little is read where both take ten times as long.
import { mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
/** Beneath the package, because builtFile (native/index.ts) looks for the core from there upwards; two runs may go side by side. */
export const OUT = join(root, 'native', 'build', `vm-${process.pid}`);

/**
 * @param files test files, relative to the package
 * @returns the runner and the bundles, absolute, in the order of `files`
 */
export async function bundle(files) {
  rmSync(OUT, { recursive: true, force: true });
  await build({
    entryPoints: [join(here, 'suite.ts'), ...files.map((file) => join(root, file))],
    outdir: OUT,
    outbase: root,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
    alias: { vitest: join(here, 'vitest.ts') },
    banner: { js: "import{createRequire as _r}from'node:module';const require=_r(import.meta.url);" },
  });
  // What tests name by a path relative to themselves.
  for (const name of ['native', 'deploy', 'dist', 'test/support']) {
    mkdirSync(dirname(join(OUT, name)), { recursive: true });
    symlinkSync(join(root, name), join(OUT, name));
  }
  const made = (file) => join(OUT, file.replace(/ts$/, 'mjs'));
  return { suite: made('test/vm/suite.ts'), tests: files.map(made) };
}

/** The files of a folder of tests, relative to the package, in the order of their names. */
export function testsIn(folder) {
  return readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.test.ts'))
    .toSorted()
    .map((name) => join(folder, name));
}
