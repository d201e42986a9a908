/**
 * The corpus of Dockerfiles, `test/corpus/dockerfiles`: each folder is one rule. `Dockerfile`, `context.sh` (makes the context in
 * an empty folder; modes and links do not live in git), `expected.json` (files and config that come of it, or the error).
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

/** What is at a path; null = something of the base image is not there any more. */
type Found =
  | readonly ['dir', mode: string, uid: number, gid: number]
  | readonly ['file', mode: string, uid: number, gid: number, content: string]
  | readonly ['link', target: string, uid: number, gid: number]
  | null;

/** By absolute path, without the root, and without what the base image has just so. */
export type Tree = Readonly<Record<string, Found>>;
/** Fields of an image's config as in its file; those that say nothing are left out. */
export type Config = Readonly<Record<string, unknown>>;

export interface CorpusCase {
  readonly name: string;
  readonly rule: string;
  readonly dockerfile: string;
  readonly args: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly expected: { readonly error: string } | { readonly tree: Tree; readonly config: Config };
}

const FOLDER = new URL('../corpus/dockerfiles/', import.meta.url).pathname;
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const COMMANDS = ['sh', 'cat', 'id', 'ls', 'mkdir', 'touch', 'chmod', 'chown', 'ln', 'rm', 'echo', 'env', 'pwd'];

interface Written {
  readonly rule: string;
  readonly options?: { readonly args?: Readonly<Record<string, string>>; readonly target?: string };
  readonly error?: string;
  readonly tree?: Tree;
  readonly config?: Config;
}

export function readCorpus(): readonly CorpusCase[] {
  return readdirSync(FOLDER)
    .toSorted()
    .map((name) => {
      const written = JSON.parse(readFileSync(join(FOLDER, name, 'expected.json'), 'utf8')) as Written;
      const { rule, options = {}, error, tree = {}, config = {} } = written;
      return {
        name,
        rule,
        dockerfile: readFileSync(join(FOLDER, name, 'Dockerfile'), 'utf8'),
        args: options.args ?? {},
        ...(options.target === undefined ? {} : { target: options.target }),
        expected: error === undefined ? { tree, config: wholeConfig(config) } : { error },
      };
    });
}

/** `Env+` is what comes behind the PATH that every image has. */
function wholeConfig({ 'Env+': more = [], ...rest }: Config): Config {
  return { Env: [PATH, ...(more as readonly string[])], WorkingDir: '/', ...rest };
}

/** Makes the context of a case where it runs; empty when the case needs none. */
export function contextScript(name: string): string {
  const script = join(FOLDER, name, 'context.sh');
  return existsSync(script) ? readFileSync(script, 'utf8') : '';
}

/** Fills the empty `folder` with the context of a case. */
export function makeContext(name: string, folder: string): void {
  execFileSync('sh', ['-euc', `umask 022; ${contextScript(name)}`], { cwd: folder });
}

/** Fills the empty `folder` with the files of the image `base`: busybox, and the users root, guest (1000) and the group mail (8). */
export function makeBase(folder: string): void {
  for (const name of ['bin', 'etc', 'tmp', 'root']) {
    mkdirSync(join(folder, name));
    chmodSync(join(folder, name), name === 'tmp' ? 0o1777 : 0o755);
  }
  cpSync('/bin/busybox', join(folder, 'bin/busybox'));
  chmodSync(join(folder, 'bin/busybox'), 0o755);
  for (const name of COMMANDS) symlinkSync('busybox', join(folder, 'bin', name));
  const files = [
    ['passwd', 'root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n'],
    ['group', 'root:x:0:\nmail:x:8:\nguest:x:1000:\n'],
  ] as const;
  for (const [name, text] of files) {
    writeFileSync(join(folder, 'etc', name), text);
    chmodSync(join(folder, 'etc', name), 0o644);
  }
}

/** What an image's root folder holds beyond, and without, what that of the base holds. */
export function treeBeyond(root: string, base: string): Tree {
  const found = treeOf(root);
  if (found['/bin/busybox'] === undefined) return found;
  const known = treeOf(base);
  const changed = Object.entries(found).filter(([path, entry]) => !isDeepStrictEqual(entry, known[path]));
  const gone = Object.keys(known).filter((path) => found[path] === undefined);
  return Object.fromEntries([...changed, ...gone.map((path) => [path, null])]);
}

function treeOf(root: string, folder = ''): Tree {
  const tree: Record<string, Found> = {};
  for (const name of readdirSync(join(root, folder))) {
    const path = `${folder}/${name}`;
    tree[path] = entryAt(join(root, path));
    if (tree[path][0] === 'dir') Object.assign(tree, treeOf(root, path));
  }
  return tree;
}

function entryAt(path: string): Exclude<Found, null> {
  const { uid, gid, ...stat } = lstatSync(path);
  const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
  switch (stat.mode & 0o170000) {
    case 0o040000:
      return ['dir', mode, uid, gid];
    case 0o120000:
      return ['link', readlinkSync(path), uid, gid];
    default:
      return ['file', mode, uid, gid, readFileSync(path, 'utf8')];
  }
}

/** The parts of a config file's `config` that the corpus speaks of; lists of keys are sorted. */
export function spokenConfig(config: Readonly<Record<string, unknown>>): Config {
  const fields =
    'Env Cmd Entrypoint WorkingDir User ExposedPorts Volumes Labels StopSignal Healthcheck OnBuild Shell'.split(' ');
  const spoken = fields.flatMap((field) => {
    const value = config[field] ?? '';
    const plain = field === 'ExposedPorts' || field === 'Volumes' ? Object.keys(value).toSorted() : value;
    return Object.keys(plain).length === 0 ? [] : [[field, plain] as const];
  });
  return Object.fromEntries(spoken);
}

/** One line for each path or field that is not as expected; empty = alike. */
export function differences(
  expected: Readonly<Record<string, unknown>>,
  found: Readonly<Record<string, unknown>>,
): readonly string[] {
  const names = [...new Set([...Object.keys(expected), ...Object.keys(found)])].toSorted();
  return names
    .filter((name) => !isDeepStrictEqual(expected[name], found[name]))
    .map(
      (name) =>
        `${name}: expected ${JSON.stringify(expected[name]) ?? 'nothing'}, found ${JSON.stringify(found[name]) ?? 'nothing'}`,
    );
}
