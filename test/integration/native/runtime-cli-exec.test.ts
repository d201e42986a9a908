import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RuntimeWorld } from '../../support/runtime-world.ts';
import { until } from '../../support/until.ts';

const SLEEPER = ['sleep', '1000'];
const SOON_MS = 20_000;
/** Takes the terminal's master as podman's conmon does, types a line, prints what comes back until the end. */
const CONSOLE = `
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1]); server.listen(1)
print('listening', flush=True)
peer, _ = server.accept()
message, fds, _, _ = socket.recv_fds(peer, 4096, 1)
print('got', message.decode(), len(fds), flush=True)
os.write(fds[0], b'typed\\n')
try:
  while (data := os.read(fds[0], 4096)): sys.stdout.write(data.decode()); sys.stdout.flush()
except OSError: pass
`;

let world: RuntimeWorld;
beforeAll(() => {
  world = new RuntimeWorld();
  writeFileSync(join(world.folder, 'console.py'), CONSOLE);
});
afterAll(() => world.destroy());

/** A console socket, and what its owner has printed. */
async function consoleSocket(): Promise<{ path: string; said: () => string; ended: Promise<unknown> }> {
  const path = join(world.folder, `${world.name()}.sock`);
  const child = spawn('python3', [join(world.folder, 'console.py'), path], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await until('the console listens', SOON_MS, () => text.startsWith('listening\n'));
  return { path, said: () => text, ended: once(child, 'exit') };
}

describe('exec', () => {
  it('runs a command beside the first process and ends with its status', () => {
    const { id } = world.started(SLEEPER);
    const called = world.call('exec', id, 'sh', '-c', 'echo $$ >&2; ls /proc/1/exe; exit 5');
    expect(called.status).toBe(5);
    expect(called.out()).toBe('/proc/1/exe\n');
    expect(Number(called.err())).toBeGreaterThan(1);
  });

  it('takes user, folder and variables from its options', () => {
    const { id } = world.started(SLEEPER);
    const report = 'id -u; id -g; readlink /proc/self/cwd; env';
    const options = ['--user', '7:8', '--cwd', '/tmp', '--env', 'MORE=1'];
    expect(
      world
        .done('exec', ...options, id, 'sh', '-c', report)
        .out()
        .split('\n'),
    ).toEqual(expect.arrayContaining(['7', '8', '/tmp', 'MORE=1', 'PATH=/bin']));
  });

  it('has the OOM score of its container, or that of its process file', () => {
    const { id } = world.started(SLEEPER, { process: { oomScoreAdj: 321 } });
    const args = ['cat', '/proc/self/oom_score_adj'];
    const file = join(world.folder, 'score.json');
    const score = (process: object) => {
      writeFileSync(file, JSON.stringify({ args, cwd: '/', env: ['PATH=/bin'], ...process }));
      return world.done('exec', '--process', file, id).out();
    };
    expect(world.done('exec', id, ...args).out()).toBe('321\n');
    expect(score({})).toBe('321\n');
    expect(score({ oomScoreAdj: 654 })).toBe('654\n');
  });

  it('runs what a process file says, detached, and writes its pid', async () => {
    const { id } = world.started(SLEEPER);
    const [file, pidFile] = [join(world.folder, 'process.json'), join(world.folder, 'exec.pid')];
    const process = { args: ['sh', '-c', 'echo $WHO; sleep 1000'], cwd: '/', env: ['PATH=/bin', 'WHO=me'] };
    writeFileSync(file, JSON.stringify(process));
    const called = world.done('exec', '--detach', '--process', file, '--pid-file', pidFile, id);
    await until('it has spoken', SOON_MS, () => called.out() === 'me\n');
    const pids = JSON.parse(world.done('ps', '--format', 'json', id).out()) as number[];
    expect(pids).toContain(Number(readFileSync(pidFile, 'utf8')));
  });

  it('is refused where there is nothing to join or to run', async () => {
    const { id } = world.started(SLEEPER);
    const missing = world.call('exec', id, '/no/such');
    expect(missing.status).toBe(1);
    expect(missing.err()).toContain('/no/such: No such file');
    world.done('kill', id, 'KILL');
    await world.stopped(id);
    const late = world.call('exec', id, 'true');
    expect(late.status).toBe(1);
    expect(late.err()).toContain('is not running');
  });

  it('stays in the root of a container that shares its mount namespace', () => {
    const { id } = world.started(SLEEPER, { linux: { namespaces: [{ type: 'pid' }] } });
    expect(world.done('exec', id, 'ls', '/').out()).toBe('bin\ndev\netc\nproc\ntmp\n');
  });
});

describe('a terminal', () => {
  it('is sent to the console socket, with the size of the config', async () => {
    const master = await consoleSocket();
    const bundle = world.bundle(['sh', '-c', 'read line; tty; stty size; echo read $line'], {
      process: { terminal: true, consoleSize: { height: 31, width: 97 } },
    });
    const id = world.name();
    world.done('create', '--bundle', bundle, '--console-socket', master.path, id);
    world.done('start', id);
    await world.stopped(id);
    await master.ended;
    expect(master.said().replaceAll('\r', '')).toBe(
      'listening\ngot /dev/ptmx 1\ntyped\n/dev/pts/0\n31 97\nread typed\n',
    );
  });

  it('is made for a command too', async () => {
    const { id } = world.started(SLEEPER);
    const master = await consoleSocket();
    const call = ['--detach', '--tty', '--console-socket', master.path, id, 'sh', '-c', 'read line; echo read $line'];
    world.done('exec', ...call);
    await master.ended;
    expect(master.said()).toContain('read typed');
  });

  it('is passed through in the foreground', () => {
    const bundle = world.bundle(['sh', '-c', 'tty; exit 3'], { process: { terminal: true } });
    const called = world.call('run', '--bundle', bundle, world.name());
    expect(called.status).toBe(3);
    expect(called.out()).toContain('/dev/pts/0');
  });

  it('is refused without a socket, and a socket without a terminal', () => {
    const refusal = (terminal: boolean, ...options: readonly string[]) => {
      const bundle = world.bundle(['true'], { process: { terminal } });
      const { status, err } = world.call('create', ...options, '--bundle', bundle, world.name());
      expect(status).toBe(1);
      return err();
    };
    expect(refusal(true)).toContain('process.terminal needs --console-socket');
    expect(refusal(false, '--console-socket', '/x')).toContain('process.terminal is not set');
    expect(refusal(true, '--console-socket', '/no/such')).toContain('/no/such');
  });
});

describe('descriptors', () => {
  it('are handed on when the caller says how many, and no others are', () => {
    const bundle = world.bundle(['sh', '-c', 'ls /proc/self/fd; cat <&3']);
    const id = world.name();
    const text = join(world.folder, 'handed');
    writeFileSync(text, 'handed on\n');
    const script = `exec 3<"$1" 4<"$1"; shift; "$@"`;
    const runtime = join(import.meta.dirname, '../../../native/build/covey-runtime');
    const args = ['--root', world.root, 'run', '--preserve-fds', '1', '--bundle', bundle, id];
    const out = execFileSync('sh', ['-c', script, 'sh', text, runtime, ...args], { encoding: 'utf8' });
    // The highest is that of ls itself, which reads the folder.
    expect(out).toBe('0\n1\n2\n3\n4\nhanded on\n');
  });
});
