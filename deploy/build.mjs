// Builds everything that is generated or compiled: messages, native core, dist/. Skips what is newer than its sources.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A command is felt from its start on: one file instead of three hundred takes a fifth off every `covey …`. */
async function bundleCli() {
  const { build } = await import('esbuild');
  const main = join(root, 'dist', 'cli', 'main.js');
  await build({
    entryPoints: [main],
    outdir: join(root, 'dist', 'cli'),
    allowOverwrite: true,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    minifySyntax: true,
    minifyWhitespace: true,
    logLevel: 'warning',
    // Packages inside that are CommonJS ask for Node's own modules with require.
    banner: { js: "import{createRequire as _r}from'node:module';const require=_r(import.meta.url);" },
  });
}

const run = (file, ...args) =>
  execFileSync(process.execPath, [join(root, file), ...args], { cwd: root, stdio: 'inherit' });

/** Newest change of any source beneath `dirs`, in ms. */
function newest(dirs) {
  let latest = 0;
  for (const dir of dirs) {
    const path = join(root, dir);
    if (!existsSync(path)) continue;
    if (statSync(path).isFile()) {
      latest = Math.max(latest, statSync(path).mtimeMs);
      continue;
    }
    for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && /\.(ts|js|json|mjs)$/.test(entry.name)) {
        latest = Math.max(latest, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs);
      }
    }
  }
  return latest;
}

run('deploy/gen.mjs');
run('native/build.mjs');

const bins = ['cli', 'manager', 'agent'].map((name) => join(root, 'dist', name, 'main.js'));
const sources = [
  'proto',
  'common',
  'manager',
  'agent',
  'cli',
  'native/index.ts',
  'deploy',
  'tsconfig.json',
  'tsconfig.build.json',
];
const built = Math.min(...bins.map((bin) => (existsSync(bin) ? statSync(bin).mtimeMs : 0)));
if (built < newest(sources)) {
  console.log('compiling to dist/');
  // Chunks of an earlier bundle have other names.
  rmSync(join(root, 'dist', 'cli'), { recursive: true, force: true });
  execFileSync(
    process.execPath,
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.build.json')],
    {
      cwd: root,
      stdio: 'inherit',
    },
  );
  mkdirSync(join(root, 'dist', 'proto', 'gen'), { recursive: true });
  cpSync(join(root, 'proto', 'gen', 'covey.js'), join(root, 'dist', 'proto', 'gen', 'covey.js'));
}
if (built < newest(sources)) await bundleCli();
// The demo images are compiled from these where they are needed.
cpSync(join(root, 'deploy', 'dev', 'web'), join(root, 'dist', 'deploy', 'dev', 'web'), { recursive: true });
for (const bin of bins) if (existsSync(bin)) chmodSync(bin, 0o755);
