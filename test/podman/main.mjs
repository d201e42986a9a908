// `npm run test:podman`: Debian's podman with covey-runtime beneath it. Needs root. Storage, state and containers lie in a
// folder of their own and are gone afterwards; no registry and no network is used. The last line is `N passed, N failed`.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const COVEY_RUNTIME = join(here, '../../native/build/covey-runtime');
const IMAGE = 'localhost/base';
const COMMANDS = ['sh', 'cat', 'echo', 'id', 'pwd', 'readlink', 'sleep', 'stty', 'tty', 'true', 'touch'];
/** One call; a machine may be busy. */
const CALL_MS = 120_000;
const LOOKS_MAX = 600;
const LOOK_MS = 100;

const work = mkdtempSync(join(tmpdir(), `covey-test-${process.pid}-`));
const runtimeRoot = join(work, 'containers');
const RUNTIME = join(work, 'covey-runtime');

/** podman asks for a million files and processes by default, which not every root may have. */
function writeSettings() {
  const settings = [
    '[containers]',
    'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]',
    'log_driver = "k8s-file"',
    '[engine]',
    'cgroup_manager = "cgroupfs"',
    'events_logger = "file"',
  ];
  writeFileSync(join(work, 'containers.conf'), `${settings.join('\n')}\n`);
  // Not --runtime-flag: podman's own cleanup after a container's end forgets it.
  writeFileSync(RUNTIME, `#!/bin/sh\nexec '${COVEY_RUNTIME}' --root '${runtimeRoot}' "$@"\n`, { mode: 0o755 });
}

const env = { ...process.env, CONTAINERS_CONF: join(work, 'containers.conf') };
const GLOBAL = [
  ...['--root', join(work, 'storage'), '--runroot', join(work, 'run'), '--tmpdir', join(work, 'tmp')],
  ...['--storage-driver', 'vfs', '--runtime', RUNTIME],
];

function call(args, options = {}) {
  const ran = spawnSync('podman', [...GLOBAL, ...args], { env, encoding: 'utf8', timeout: CALL_MS, ...options });
  return { status: ran.status, out: ran.stdout, err: ran.stderr };
}

/** A call that must succeed; what it printed. */
function podman(...args) {
  const { status, out, err } = call(args);
  if (status !== 0) throw new Error(`podman ${args.join(' ')}: status ${status}: ${err}`);
  return out.trimEnd();
}

/** The same at a terminal. */
function atTerminal(...args) {
  const words = ['podman', ...GLOBAL, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const ran = spawnSync('script', ['--quiet', '--return', '--command', words, '/dev/null'], {
    env,
    encoding: 'utf8',
    timeout: CALL_MS,
  });
  // The end of our own stdin comes back as ^@.
  return { status: ran.status, line: ran.stdout.replaceAll('^@', '').split('\r\n')[0] };
}

function equal(actual, expected, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a}, not ${b}`);
}

function until(what, isTrue) {
  for (let looks = 0; !isTrue(); looks += 1) {
    if (looks === LOOKS_MAX) throw new Error(`never happened: ${what}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
  }
}

const detached = (name, ...args) => podman('run', '--detach', '--network', 'none', '--name', name, IMAGE, ...args);
const statusOf = (name) => podman('inspect', '--format', '{{.State.Status}}', name);

const TESTS = {
  'run ends with the status of its process and passes both streams': () => {
    const { status, out, err } = call([
      'run',
      '--rm',
      '--network',
      'none',
      IMAGE,
      'sh',
      '-c',
      'echo out; echo err >&2; exit 5',
    ]);
    equal([status, out, err], [5, 'out\n', 'err\n'], 'status and streams');
  },
  'run of a command that is missing ends with 127, of a folder with 126': () => {
    equal(call(['run', '--rm', '--network', 'none', IMAGE, '/no/such']).status, 127, 'missing');
    equal(call(['run', '--rm', '--network', 'none', IMAGE, '/bin']).status, 126, 'a folder');
  },
  'run -i hands stdin on': () => {
    const { out } = call(['run', '--rm', '-i', '--network', 'none', IMAGE, 'cat'], { input: 'to and fro\n' });
    equal(out, 'to and fro\n', 'what came back');
  },
  'run -it has a terminal': () => {
    const { status, line } = atTerminal('run', '--rm', '-it', '--network', 'none', IMAGE, 'sh', '-c', 'tty; exit 3');
    equal([status, line], [3, '/dev/pts/0'], 'status and terminal');
  },
  'run takes user, folder, variables, limits and a read-only root': () => {
    const options = [
      '--user',
      '7:8',
      '--workdir',
      '/tmp',
      '--env',
      'X=y',
      '--memory',
      '64m',
      '--pids-limit',
      '50',
      '--read-only',
    ];
    const script = 'id -u; id -g; pwd; echo $X; touch /file || echo read-only';
    const { out } = call(['run', '--rm', '--network', 'none', ...options, IMAGE, 'sh', '-c', script]);
    equal(out, '7\n8\n/tmp\ny\nread-only\n', 'what it said');
  },
  'exec runs beside the first process, with options of its own and at a terminal': () => {
    detached('exec', 'sleep', '1000');
    const { status, out } = call([
      'exec',
      '--user',
      '7',
      '--workdir',
      '/tmp',
      '--env',
      'X=y',
      'exec',
      'sh',
      '-c',
      'id -u; pwd; echo $X; exit 7',
    ]);
    equal([status, out], [7, '7\n/tmp\ny\n'], 'exec');
    equal(atTerminal('exec', '-it', 'exec', 'tty'), { status: 0, line: '/dev/pts/0' }, 'exec -it');
    podman('exec', '--detach', 'exec', 'touch', '/tmp/detached');
    until('the detached command has run', () => call(['exec', 'exec', 'cat', '/tmp/detached']).status === 0);
    equal(call(['exec', 'exec', '/no/such']).status, 127, 'a missing command');
  },
  'logs gives both streams of a container that has ended': () => {
    detached('logs', 'sh', '-c', 'echo one; echo two >&2');
    podman('wait', 'logs');
    const { out, err } = call(['logs', 'logs']);
    equal([out, err], ['one\n', 'two\n'], 'logs');
  },
  'stop lets the process end by itself, and kills what does not': () => {
    detached('stop', 'sh', '-c', "trap 'exit 9' TERM; echo ready; while :; do sleep 1000 & wait $!; done");
    until('it is ready', () => call(['logs', 'stop']).out === 'ready\n');
    podman('stop', '--time', '30', 'stop');
    equal(podman('inspect', '--format', '{{.State.ExitCode}}', 'stop'), '9', 'its own status');
    detached('stubborn', 'sleep', '1000');
    podman('stop', '--time', '1', 'stubborn');
    equal(podman('inspect', '--format', '{{.State.ExitCode}}', 'stubborn'), '137', 'the status of the killed');
  },
  'kill sends its signal; start runs it again': () => {
    detached('kill', 'sh', '-c', "trap 'echo got; exit 4' USR1; echo ready; while :; do sleep 1000 & wait $!; done");
    until('it is ready', () => call(['logs', 'kill']).out === 'ready\n');
    podman('kill', '--signal', 'USR1', 'kill');
    equal(podman('wait', 'kill'), '4', 'its status');
    podman('start', 'kill');
    until('it runs again', () => call(['logs', 'kill']).out === 'ready\ngot\nready\n');
  },
  'pause freezes and unpause thaws': () => {
    detached('pause', 'sleep', '1000');
    podman('pause', 'pause');
    equal(statusOf('pause'), 'paused', 'paused');
    podman('unpause', 'pause');
    equal(statusOf('pause'), 'running', 'thawed');
  },
  'top lists its processes and stats counts them': () => {
    detached('top', 'sleep', '1000');
    equal(podman('top', 'top', 'args').split('\n'), ['COMMAND', 'sleep 1000'], 'top');
    const [stats] = JSON.parse(podman('stats', '--no-stream', '--format', 'json', 'top'));
    equal([stats.name, stats.pids], ['top', '1'], 'stats');
  },
  'a process without memory is killed': () => {
    const eat = 'x=a; while :; do x=$x$x; done';
    call([
      'run',
      '--network',
      'none',
      '--name',
      'oom',
      '--memory',
      '16m',
      '--memory-swap',
      '16m',
      IMAGE,
      'sh',
      '-c',
      eat,
    ]);
    equal(podman('inspect', '--format', '{{.State.ExitCode}}', 'oom'), '137', 'its status');
  },
  'a pod shares its namespaces and ends as one': () => {
    podman(
      'pod',
      'create',
      '--name',
      'pod',
      '--network',
      'none',
      '--infra-image',
      IMAGE,
      '--infra-command',
      'sleep 1000',
    );
    for (const name of ['one', 'two'])
      podman('run', '--detach', '--pod', 'pod', '--name', name, IMAGE, 'sleep', '1000');
    const spaces = (name) =>
      ['net', 'ipc', 'uts'].map((type) => podman('exec', name, 'readlink', `/proc/self/ns/${type}`));
    equal(spaces('one'), spaces('two'), 'namespaces');
    equal(podman('pod', 'ps', '--format', '{{.Name}} {{.Status}} {{.NumberOfContainers}}'), 'pod Running 3', 'pod ps');
    podman('pod', 'stop', '--time', '1', 'pod');
    equal(['one', 'two'].map(statusOf), ['exited', 'exited'], 'stopped');
    podman('pod', 'rm', '--force', 'pod');
  },
  'rm leaves nothing': () => {
    podman('rm', '--all', '--force', '--time', '1');
    equal(podman('ps', '--all', '--quiet'), '', 'ps');
    equal(existsSync(runtimeRoot) ? readdirSync(runtimeRoot) : [], [], 'folders of the runtime');
  },
};

function install() {
  if (spawnSync('podman', ['--version']).status === 0) return;
  const wanted = ['install', '--yes', '--no-install-recommends', 'podman', 'conmon', 'busybox-static'];
  if (spawnSync('apt-get', wanted, { stdio: 'inherit' }).status !== 0) throw new Error('podman cannot be installed');
}

/** A root file system of one program, imported as an image. */
function importImage() {
  const root = join(work, 'rootfs');
  for (const folder of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp']) mkdirSync(join(root, folder), { recursive: true });
  cpSync('/bin/busybox', join(root, 'bin', 'busybox'));
  for (const name of COMMANDS) symlinkSync('busybox', join(root, 'bin', name));
  const archive = join(work, 'rootfs.tar');
  if (spawnSync('tar', ['cf', archive, '-C', root, '.']).status !== 0) throw new Error('tar failed');
  podman('import', archive, IMAGE);
}

let failed = 0;
try {
  install();
  writeSettings();
  importImage();
  for (const [name, test] of Object.entries(TESTS)) {
    try {
      test();
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${name}\n  ${String(error.message).replaceAll('\n', '\n  ')}`);
    }
  }
} finally {
  call(['rm', '--all', '--force', '--time', '0']);
  call(['pod', 'rm', '--all', '--force']);
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n').reverse()) {
    const path = line.split(' ')[4] ?? '';
    if (path.startsWith(`${work}/`)) spawnSync('umount', ['-l', path]);
  }
  rmSync(work, { recursive: true, force: true });
}
console.log(`${Object.keys(TESTS).length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
