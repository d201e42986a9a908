/**
 * Builds the corpus of Dockerfiles with Debian's buildah, and holds what comes of it against what the corpus expects: `npm run
 * test:corpus [-- NAME…]`. Wants root; everything lies in one folder that is removed. What buildah does otherwise, as is known,
 * stands in buildah.json with the reason; a line there that is not true any more fails too.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Config,
  type CorpusCase,
  differences,
  makeBase,
  makeContext,
  readCorpus,
  spokenConfig,
  type Tree,
  treeBeyond,
} from '../support/dockerfile-corpus.ts';

/** By case: why buildah makes something else of it. */
const KNOWN = JSON.parse(readFileSync(new URL('./buildah.json', import.meta.url), 'utf8')) as Readonly<
  Record<string, string>
>;
/** Made by buildah for the time of a RUN, and left behind. */
const LEFT_BY_RUN: readonly string[] = [
  '/dev',
  '/proc',
  '/sys',
  '/run',
  '/etc/hosts',
  '/etc/hostname',
  '/etc/resolv.conf',
];

class Buildah {
  readonly #folder: string;
  readonly base: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.base = join(folder, 'base');
    mkdirSync(this.base);
    makeBase(this.base);
    writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY . /\nCMD ["/bin/sh"]\n');
    this.#run([
      'bud',
      '--isolation',
      'chroot',
      '-q',
      '-f',
      join(folder, 'Dockerfile'),
      '-t',
      'localhost/base',
      this.base,
    ]);
  }

  /** Gives the image's files and config, or what buildah says is wrong. */
  build(each: CorpusCase): { readonly tree: Tree; readonly config: Config } | { readonly error: string } {
    const dir = mkdtempSync(join(this.#folder, 'case-'));
    const context = join(dir, 'context');
    mkdirSync(context);
    makeContext(each.name, context);
    writeFileSync(join(dir, 'Dockerfile'), each.dockerfile);
    const args = Object.entries(each.args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
    const target = each.target === undefined ? [] : ['--target', each.target];
    const name = `localhost/${each.name}`;
    try {
      const options = ['--isolation', 'chroot', '--pull-never', '--format', 'docker', '-q', ...args, ...target];
      this.#run(['bud', ...options, '-f', join(dir, 'Dockerfile'), '-t', name, context]);
    } catch (cause) {
      return { error: String(cause) };
    }
    const inspected = JSON.parse(this.#run(['inspect', '--type', 'image', name])) as {
      readonly Docker: { readonly config: Config };
    };
    return { tree: this.#treeOf(name), config: configOf(inspected.Docker.config) };
  }

  /** As the storage driver keeps it: `buildah from` would run the image's triggers. */
  #treeOf(name: string): Tree {
    const images = JSON.parse(readFileSync(join(this.#folder, 'root/vfs-images/images.json'), 'utf8')) as readonly {
      readonly names?: readonly string[];
      readonly layer?: string;
    }[];
    const layer = images.find((image) => image.names?.includes(`${name}:latest`) === true)?.layer;
    if (layer === undefined) return {};
    return withoutLeftovers(treeBeyond(join(this.#folder, 'root/vfs/dir', layer), this.base));
  }

  close(): void {
    this.#run(['rmi', '--all', '--force']);
  }

  #run(args: readonly string[]): string {
    const store = [
      '--root',
      join(this.#folder, 'root'),
      '--runroot',
      join(this.#folder, 'run'),
      '--storage-driver',
      'vfs',
    ];
    const { status, stdout, stderr } = spawnSync('buildah', [...store, ...args], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`buildah ${args[0]}: ${stderr.trim()}`);
    return stdout;
  }
}

function withoutLeftovers(tree: Tree): Tree {
  return Object.fromEntries(Object.entries(tree).filter(([path]) => !LEFT_BY_RUN.includes(path)));
}

/** Without buildah's own label; where it says nothing of the folder, that is the root. */
function configOf(config: Config): Config {
  const { Labels, WorkingDir } = config;
  const { 'io.buildah.version': _, ...labels } = (Labels ?? {}) as Readonly<Record<string, string>>;
  return spokenConfig({ ...config, Labels: labels, WorkingDir: WorkingDir === '' ? '/' : WorkingDir });
}

/** What is not as the corpus says. */
function judge(each: CorpusCase, buildah: Buildah): readonly string[] {
  const built = buildah.build(each);
  if ('error' in each.expected) return 'error' in built ? [] : ['it is built, and should be refused'];
  if ('error' in built) return [`it is refused: ${built.error.split('\n').at(-1)}`];
  return [...differences(each.expected.tree, built.tree), ...differences(each.expected.config, built.config)];
}

const wanted = process.argv.slice(2);
const cases = readCorpus().filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const folder = mkdtempSync(join(tmpdir(), 'covey-corpus-'));
let failed = 0;
try {
  const buildah = new Buildah(folder);
  try {
    for (const each of cases) {
      const wrong = judge(each, buildah);
      const reason = KNOWN[each.name];
      const passed = wrong.length > 0 === (reason !== undefined);
      if (!passed) failed += 1;
      const more = reason === undefined ? '' : ` (known: ${reason})`;
      console.log(`${passed ? 'ok  ' : 'FAIL'} ${each.name}: ${each.rule}${more}`);
      for (const line of wrong) console.log(`       ${line}`);
      if (!passed && wrong.length === 0) console.log('       buildah does as expected: its line in buildah.json goes');
    }
  } finally {
    buildah.close();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${cases.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
