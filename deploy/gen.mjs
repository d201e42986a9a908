// Generates proto/gen/covey.{js,d.ts} from proto/*.proto. Plain Node, because it runs before anything is built.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const protoDir = join(root, 'proto');
const outDir = join(protoDir, 'gen');
const out = join(outDir, 'covey.js');
const types = join(outDir, 'covey.d.ts');

const sources = readdirSync(protoDir)
  .filter((name) => name.endsWith('.proto'))
  .sort()
  .map((name) => join(protoDir, name));
const newest = Math.max(...[...sources, fileURLToPath(import.meta.url)].map((file) => statSync(file).mtimeMs));

if (!existsSync(types) || statSync(types).mtimeMs < newest) {
  mkdirSync(outDir, { recursive: true });
  const bin = join(root, 'node_modules', 'protobufjs-cli', 'bin');
  const pbjs = (target, ...more) =>
    execFileSync(
      process.execPath,
      [
        join(bin, 'pbjs'),
        '-t',
        'static-module',
        '-w',
        'esm',
        '--force-number',
        '--null-semantics',
        '--no-convert',
        '--no-delimited',
      ].concat(['--no-typeurl', '--no-verify', '--no-service', ...more, '-p', protoDir, '-o', target, ...sources]),
      { stdio: 'inherit' },
    );
  try {
    // Comments make the types' documentation but would triple the code that every program loads: two runs.
    pbjs(out, '--alt-comment', '--dts');
    pbjs(out, '--no-comments');
  } catch (cause) {
    rmSync(out, { force: true });
    rmSync(types, { force: true });
    throw cause;
  }
  console.log(`generated ${out.slice(root.length + 1)}`);
}
