// Builds the native core: the addon (node-gyp of npm's own) and the static programs beside it (musl-gcc). Plain Node
// without dependencies, because it runs before anything is installed or transformed. Does nothing when every output is
// newer than every source.
//
//   node native/build.mjs [--force] [--only addon|shim|runtime|units|asan|fuzz]

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const output = join(here, 'build');
const addon = join(output, 'Release', 'covey.node');

/** The static programs: output name -> folders of .c files. The first is shipped, the others serve tests and benches. */
const programs = {
  'covey-shim': { folders: ['shim'] },
  'covey-shim-faults': { folders: ['shim', 'test/faults'], flags: ['-DCOVEY_FAULTS'] },
  'test-init': { folders: ['test/init'] },
  'bare-bound': { folders: ['test/bound'] },
  version1: { folders: ['test/version1'] },
};

function fail(message, hint) {
  process.stderr.write(`native: ${message}\n  ${hint}\n`);
  process.exit(1);
}

function filesUnder(folder, endings) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => join(folder, entry.name))
    .sort();
}

function isFresh(product, sources) {
  if (!existsSync(product)) return false;
  const made = statSync(product).mtimeMs;
  return sources.every((source) => statSync(source).mtimeMs <= made);
}

/** Where this Node keeps its own headers: they cannot be downloaded, and another version's headers build a broken addon. */
function nodePrefix() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const header = join(prefix, 'include', 'node', 'node_api.h');
  if (!existsSync(header)) {
    fail(
      `this Node (${process.execPath}) has no headers: ${header} is missing`,
      "install Node 20 from nodesource's package or the official tarball; both bring include/node",
    );
  }
  return prefix;
}

function nodeGyp() {
  const candidates = [];
  if (process.env.npm_execpath) candidates.push(join(dirname(dirname(process.env.npm_execpath)), 'node_modules'));
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const npm = join(folder, 'npm');
    if (existsSync(npm)) candidates.push(join(dirname(dirname(realpathSync(npm))), 'node_modules'));
  }
  candidates.push(join(nodePrefix(), 'lib', 'node_modules', 'npm', 'node_modules'));
  for (const modules of candidates) {
    const script = join(modules, 'node-gyp', 'bin', 'node-gyp.js');
    if (existsSync(script)) return script;
  }
  return fail('no node-gyp beside npm', 'install npm 9 or newer (it comes with Node 20)');
}

function run(command, args) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20 });
  if (result.error)
    fail(`cannot run ${command}: ${result.error.message}`, 'apt-get install g++ make python3 musl-tools');
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
    fail(
      `${command} ${args.slice(0, 3).join(' ')} … ended with status ${result.status ?? result.signal}`,
      'the output above names the file',
    );
  }
  return result;
}

/** Held while building: two builds at once would delete each other's object files. */
function withLock(build) {
  const lock = join(output, '.lock');
  mkdirSync(output, { recursive: true });
  // flock(1) of util-linux would need a wrapper process; a directory is as atomic, and a stale one names its owner.
  for (let tries = 0; ; tries++) {
    try {
      mkdirSync(lock);
      writeFileSync(join(lock, 'pid'), String(process.pid));
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (isStale(lock)) rmSync(lock, { recursive: true, force: true });
      else if (tries > 1_200) fail(`another build holds ${lock}`, 'wait for it, or remove that folder');
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 250);
    }
  }
  try {
    return build();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function isStale(lock) {
  try {
    const age = Date.now() - statSync(lock).mtimeMs;
    const pidFile = join(lock, 'pid');
    if (!existsSync(pidFile)) return age > 5_000;
    return !existsSync(`/proc/${Number(readFileSync(pidFile, 'utf8'))}`);
  } catch {
    return true;
  }
}

function buildAddon(force) {
  const sources = [...filesUnder(join(here, 'src'), ['.cc', '.h']), join(here, 'binding.gyp')];
  if (!force && isFresh(addon, sources)) return false;
  // The list of files is read by configure, so a new file needs it again; the object files stay.
  const place = ['--directory', here, `--nodedir=${nodePrefix()}`];
  run(process.execPath, [nodeGyp(), 'configure', ...place]);
  run(process.execPath, [nodeGyp(), 'build', ...place, '--jobs', '2']);
  if (!existsSync(addon)) fail(`${addon} was not built`, 'run with --force');
  // make leaves an up-to-date product untouched, for instance when only a comment of binding.gyp changed.
  run('touch', [addon]);
  return true;
}

function buildProgram(name, { folders, flags = [] }, force) {
  const roots = folders.map((folder) => join(here, folder));
  const sources = roots.flatMap((root) => filesUnder(root, ['.c']));
  if (sources.length === 0) return false;
  const product = join(output, name);
  if (!force && isFresh(product, [...sources, ...roots.flatMap((root) => filesUnder(root, ['.h']))])) return false;
  const fresh = `${product}.new`;
  // musl-gcc knows no kernel headers; they come last, so that musl's own win.
  const kernel = [
    '-idirafter',
    '/usr/include',
    '-idirafter',
    `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
  ];
  run('musl-gcc', [
    '-std=c17',
    '-D_GNU_SOURCE',
    '-Os',
    '-static',
    '-s',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-Wno-format-truncation',
    '-fno-stack-protector',
    '-ffunction-sections',
    '-fdata-sections',
    '-Wl,--gc-sections',
    ...flags,
    ...roots.map((root) => `-iquote${root}`),
    ...kernel,
    '-o',
    fresh,
    ...sources,
  ]);
  renameSync(fresh, product);
  return true;
}

/** What is free of Node and has tests or fuzz targets of its own. */
const SUBJECTS = [
  'cgroup',
  'cgroup_block_io',
  'cgroup_cpu',
  'cgroup_life',
  'cgroup_memory',
  'cgroup_name',
  'cgroup_others',
  'cgroup_plan',
  'cgroup_resources',
  'cgroup_stats',
  'cgroup_update',
  'container',
  'device_rules',
  'filter_program',
  'exec_stream',
  'id_maps',
  'mount_options',
  'oci_attributes',
  'oci_cut',
  'oci_hooks',
  'oci_leave',
  'oci_mounts',
  'oci_namespaces',
  'oci_plan',
  'oci_process',
  'oci_refused',
  'plan_writer',
  'process',
  'syscall_filter',
  'shim_process',
  'shim_template',
  'user_lookup',
];

/** The same of covey-runtime. */
const RUNTIME_SUBJECTS = ['arguments', 'record'].map((name) => join(here, 'runtime', `${name}.cc`));

/** The C files of the shim that covey-runtime shares: how a hook is run. */
const SHARED_WITH_RUNTIME = ['failure.c', 'hooks.c', 'plan.c', 'texts.c'];

/** The programs of the addon's own objects: output name -> folder of what else they are. The first is shipped. */
const LINKED = { 'covey-runtime': 'runtime', 'bare-core': 'test/core' };

/** The subjects of src/ that are for the addon alone. */
const NOT_IN_RUNTIME = /^(addon|bind_.*|conntrack|js_error|link|netlink|nft|poll|route|tc.*|unzstd)$/;

/**
 * A static program of the addon's own objects, so that they are compiled once, and what lies in `folder`.
 * Static: a runtime is started several times for each container, and a dynamic loader would cost as much as all it does.
 */
function linkProgram(name, folder, force) {
  const objects = join(output, 'Release', 'obj.target', 'covey', 'src');
  const shared = filesUnder(objects, ['.o']).filter((path) => !NOT_IN_RUNTIME.test(basename(path, '.o')));
  const own = filesUnder(join(here, folder), ['.cc']);
  const c = SHARED_WITH_RUNTIME.map((each) => join(here, 'shim', each));
  const headers = [folder, 'src', 'shim'].flatMap((each) => filesUnder(join(here, each), ['.h']));
  const product = join(output, name);
  if (!force && isFresh(product, [...own, ...shared, ...c, ...headers])) return false;
  const place = join(output, basename(folder));
  mkdirSync(place, { recursive: true });
  const flags = '-O2 -Wall -Wextra -Werror -ffunction-sections -fdata-sections';
  const rules = [...own, ...c].map((source) => {
    const object = join(place, `${basename(source)}.o`);
    const compiler = source.endsWith('.c')
      ? 'gcc -std=c17 -D_GNU_SOURCE -Wno-format-truncation'
      : 'g++ -std=c++20 -Wno-missing-field-initializers -Wno-restrict';
    return { object, text: `${object}: ${source} ${headers.join(' ')}\n\t${compiler} ${flags} -c ${source} -o $@\n` };
  });
  const all = [...rules.map(({ object }) => object), ...shared].join(' ');
  const makefile = join(output, `${basename(folder)}.mk`);
  writeFileSync(
    makefile,
    `${product}: ${all}\n\tg++ -static -s -Wl,--gc-sections -o $@ ${all} -lseccomp\n${rules.map(({ text }) => text).join('')}`,
  );
  run('make', ['--no-print-directory', '--jobs', '2', '--file', makefile]);
  run('touch', [product]);
  return true;
}

/**
 * The parsers with ASan and UBSan in one executable, for test/integration/native/units.test.ts. Compiled as one unit:
 * most of the time goes into reading the JSON library, which so happens once.
 */
function buildUnits(force) {
  const sources = [
    ...SUBJECTS.map((name) => join(here, 'src', `${name}.cc`)),
    ...RUNTIME_SUBJECTS,
    ...filesUnder(join(here, 'test'), ['.cc']),
  ];
  const others = [
    ...['src', 'runtime', 'test'].flatMap((folder) => filesUnder(join(here, folder), ['.h'])),
    ...filesUnder(join(here, 'shim'), ['.h']),
    join(here, 'shim', 'plan.c'),
  ];
  const product = join(output, 'native-units');
  if (!force && isFresh(product, [...sources, ...others])) return false;
  const one = join(output, 'units-all.cc');
  const plan = join(output, 'units-plan.o');
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g1'];
  writeFileSync(one, sources.map((source) => `#include "${source}"\n`).join(''));
  run('gcc', ['-std=c17', '-D_GNU_SOURCE', ...sanitizers, '-c', join(here, 'shim', 'plan.c'), '-o', plan]);
  run('g++', ['-std=c++20', '-O0', ...sanitizers, one, plan, '-lseccomp', '-o', `${product}.new`]);
  renameSync(`${product}.new`, product);
  return true;
}

/** The shims with ASan and UBSan, for test/asan. Dynamic and with glibc: the sanitizers know no other. */
function buildSanitizedShims(force) {
  const folder = join(output, 'asan');
  const settings = join(dirname(here), 'test', 'asan', 'options.c');
  const sanitizers = [
    '-fsanitize=address,undefined',
    '-fno-sanitize-recover=all',
    '-static-libasan',
    '-static-libubsan',
  ];
  mkdirSync(folder, { recursive: true });
  return ['covey-shim', 'covey-shim-faults'].filter((name) => {
    const { folders, flags = [] } = programs[name];
    const roots = folders.map((each) => join(here, each));
    const sources = [...roots.flatMap((each) => filesUnder(each, ['.c'])), settings];
    const product = join(folder, name);
    if (!force && isFresh(product, [...sources, ...roots.flatMap((each) => filesUnder(each, ['.h']))])) return false;
    run('gcc', [
      ...['-std=c17', '-D_GNU_SOURCE', '-O1', '-g1', '-fno-omit-frame-pointer', '-Wno-format-truncation'],
      ...[...sanitizers, ...flags, `-DREPORTS="${join(folder, 'reports', name)}"`],
      ...roots.map((each) => `-iquote${each}`),
      ...['-o', `${product}.new`, ...sources],
    ]);
    renameSync(`${product}.new`, product);
    return true;
  });
}

/** Every fuzz target in one program, for native/fuzz/main.mjs. As buildUnits one unit, but by clang, which has libFuzzer. */
function buildFuzz(force) {
  const sources = [
    ...[...SUBJECTS, 'netlink'].map((name) => join(here, 'src', `${name}.cc`)),
    ...RUNTIME_SUBJECTS,
    ...filesUnder(join(here, 'fuzz'), ['.cc']),
  ];
  const parts = ['plan', 'request', 'log_line'].map((name) => join(here, 'shim', `${name}.c`));
  const headers = ['src', 'shim', 'runtime', 'fuzz'].flatMap((folder) => filesUnder(join(here, folder), ['.h']));
  const product = join(output, 'native-fuzz');
  if (!force && isFresh(product, [...sources, ...parts, ...headers])) return false;
  const one = join(output, 'fuzz-all.cc');
  const flags = ['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all', '-O1', '-g1'];
  writeFileSync(one, sources.map((source) => `#include "${source}"\n`).join(''));
  const objects = parts.map((part, number) => {
    const object = join(output, `fuzz-${number}.o`);
    run('clang', ['-std=c17', '-D_GNU_SOURCE', ...flags, '-c', part, '-o', object]);
    return object;
  });
  run('clang++', ['-std=c++20', ...flags, one, ...objects, '-lseccomp', '-o', `${product}.new`]);
  renameSync(`${product}.new`, product);
  return true;
}

const force = process.argv.includes('--force');
const only = process.argv[process.argv.indexOf('--only') + 1];
const wants = (part) => !process.argv.includes('--only') || only === part;
const built = withLock(() => {
  const made = [];
  if (wants('shim')) {
    for (const [name, program] of Object.entries(programs)) if (buildProgram(name, program, force)) made.push(name);
  }
  if (only === 'units' && buildUnits(force)) made.push('native-units');
  if (only === 'asan') made.push(...buildSanitizedShims(force).map((name) => `${name} with sanitizers`));
  if (only === 'fuzz' && buildFuzz(force)) made.push('native-fuzz');
  if ((wants('addon') || wants('runtime')) && buildAddon(force)) made.push('covey.node');
  if (wants('runtime')) {
    for (const [name, folder] of Object.entries(LINKED)) if (linkProgram(name, folder, force)) made.push(name);
  }
  return made;
});
process.stdout.write(built.length === 0 ? 'native: up to date\n' : `native: built ${built.join(', ')}\n`);
