/** Containers without a service: run, seen, entered, stopped and started again on whichever node, whatever becomes of the agent. */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DevCluster, isAlive, type Said } from '../support/dev-cluster.ts';
import { buildShellImage } from '../support/shell-image.ts';
import { until } from '../support/until.ts';

const execute = promisify(execFile);

interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly RestartCount: number;
  readonly Node: { readonly ID: string; readonly Name: string };
  readonly State: { readonly Status: string; readonly ExitCode: number; readonly Pid: number };
  readonly NetworkSettings: { readonly IPAddress: string };
}

let cluster: DevCluster;

beforeAll(async () => {
  cluster = await DevCluster.up('--hosts', '2', '--managers', '2');
  await cluster.must('image', 'load', buildShellImage(cluster.dir));
});
afterAll(() => cluster?.clean());

const covey = (...args: readonly string[]): Promise<Said> => cluster.covey(...args);

async function inspect(name: string): Promise<Inspected> {
  return (JSON.parse(await cluster.must('inspect', name)) as readonly Inspected[])[0] as Inspected;
}

async function ps(...flags: readonly string[]): Promise<readonly string[]> {
  return (await cluster.must('ps', '--format', '{{.Names}} {{.State}}', ...flags))
    .split('\n')
    .filter((line) => line !== '');
}

describe('covey run', () => {
  it('gives what a command says and its exit code, though it ends at once, on the node asked for', async () => {
    for (const node of ['n1', 'n2']) {
      const said = await covey('run', '--rm', '--node', node, 'shell:1', 'sh', '-c', 'echo out; echo err >&2; exit 7');
      expect(said).toEqual({ code: 7, out: 'out\n', err: 'err\n' });
    }
    expect(await ps('-a')).toEqual([]);
  });

  it('takes stdin to its end, and gives what became of it', async () => {
    const child = cluster.spawn('run', '--rm', '-i', 'shell:1', 'cat');
    child.stdin?.end('through and back');
    let out = '';
    for await (const chunk of child.stdout ?? []) out += String(chunk);
    expect(out).toBe('through and back');
  });

  it('ends as a command that says nothing and ends at once, each time', async () => {
    for (let times = 0; times < 3; times += 1) {
      expect(await covey('run', '--rm', 'shell:1', 'sh', '-c', 'exit 3')).toEqual({ code: 3, out: '', err: '' });
    }
  });

  it('ends with 127 and 125 as Docker does, and says why', async () => {
    const none = await covey('run', '--rm', 'shell:1', '/nothing');
    expect(none).toMatchObject({ code: 127, err: expect.stringContaining('/nothing') });
    const image = await covey('run', '--pull', 'never', 'none:1');
    expect(image).toMatchObject({ code: 125, err: expect.stringContaining('"none:1" is not in the cluster') });
    expect(await covey('run', '--gpus', 'all', 'shell:1')).toMatchObject({
      code: 2,
      err: expect.stringContaining('--gpus'),
    });
    expect(await ps('-a')).toEqual([]);
  });

  it('is a terminal with sizes, detach keys and a way back', async () => {
    const screen = cluster.onTerminal(30, 90, 'run', '-it', '--name', 'term', 'shell:1', 'sh');
    await screen.sees('/ #');
    screen.type('stty size\r');
    await screen.sees('30 90');
    await screen.resize(40, 100);
    screen.type('stty size\r');
    await screen.sees('40 100');
    screen.type('\x10\x11');
    expect(await screen.code).toBe(0);
    expect(screen.isCooked).toBe(true);
    expect(await ps()).toEqual(['term running']);
    const again = cluster.onTerminal(30, 90, 'attach', 'term');
    again.type('\recho so-far-$((40+2))\r');
    await again.sees('so-far-42');
    again.type('exit 5\r');
    expect(await again.code).toBe(5);
    expect((await inspect('term')).State).toMatchObject({ Status: 'exited', ExitCode: 5 });
    await cluster.must('rm', 'term');
  });
});

describe('a container without a service', () => {
  it('lives on while its agent is killed, keeps its files over stop and start, and goes with rm', async () => {
    const script = 'echo began; echo kept > /file; trap "echo asked; exit 0" TERM; while :; do sleep 0.05; done';
    const id = (await cluster.must('run', '-d', '--name', 'box', '--node', 'n2', 'shell:1', 'sh', '-c', script)).trim();
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    const before = await inspect('box');
    expect(before).toMatchObject({ Id: id, Name: '/box', Node: { Name: 'n2' }, State: { Status: 'running' } });
    expect(await covey('run', '--name', 'box', 'shell:1')).toMatchObject({
      code: 125,
      err: expect.stringContaining('"box" is already in use'),
    });
    const host = (await cluster.status()).hosts.find(({ name }) => name === 'n2');
    process.kill(host?.agentPid ?? 0, 'SIGKILL');
    expect(isAlive(before.State.Pid)).toBe(true);
    await until(
      'its node answers again',
      30_000,
      async () => (await covey('exec', id.slice(0, 10), 'cat', '/file')).out === 'kept\n',
    );
    expect((await inspect('box')).State).toMatchObject({ Status: 'running', Pid: before.State.Pid });
    expect(await cluster.must('logs', 'box')).toBe('began\n');
    expect(await cluster.must('stop', 'box')).toBe('box\n');
    expect(await ps('-a')).toEqual(['box exited']);
    expect(await cluster.must('start', 'box')).toBe('box\n');
    expect(await cluster.must('exec', 'box', 'cat', '/file')).toBe('kept\n');
    expect(await cluster.must('logs', '--tail', '2', 'box')).toBe('asked\nbegan\n');
    expect(await covey('rm', 'box')).toMatchObject({ code: 1, err: expect.stringContaining('it is running') });
    await cluster.must('rename', 'box', 'crate');
    expect(await cluster.must('top', 'crate')).toContain('sleep 0.05');
    expect(await cluster.must('top', 'crate', '-o', 'pid,args')).toMatch(/^PID +COMMAND\n\d+ +sh -c echo began/);
    expect(await cluster.must('pause', 'crate')).toBe('crate\n');
    expect((await inspect('crate')).State.Status).toBe('paused');
    await cluster.must('unpause', 'crate');
    await cluster.must('kill', '-s', 'TERM', 'crate');
    expect(await cluster.must('wait', 'crate')).toBe('0\n');
    expect(await cluster.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'crate')).toBe('exited 0\n');
    await cluster.must('rm', 'crate');
    expect(await covey('rm', 'crate')).toMatchObject({ code: 1, out: '' });
    expect(await covey('rm', '-f', 'crate')).toMatchObject({
      code: 0,
      out: '',
      err: 'covey: no such container: crate\n',
    });
    expect(await covey('inspect', 'crate')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no such container'),
    });
  });

  it('gives and takes files by Docker’s rules, tells what it changed, is exported and becomes an image', async () => {
    await cluster.must(
      'run',
      '-d',
      '--name',
      'files',
      '--node',
      'n2',
      'shell:1',
      'sh',
      '-c',
      'echo made > /made; sleep 1000',
    );
    const dir = join(cluster.dir, 'files');
    mkdirSync(join(dir, 'deep'), { recursive: true });
    writeFileSync(join(dir, 'deep', 'one'), 'first');
    await cluster.must('cp', dir, 'files:/tmp');
    await cluster.must('cp', `${dir}/.`, 'files:/tmp/fresh');
    expect(await cluster.must('exec', 'files', 'cat', '/tmp/files/deep/one', '/tmp/fresh/deep/one')).toBe('firstfirst');
    await cluster.must('cp', 'files:/tmp/fresh', join(dir, 'back'));
    await cluster.must('cp', 'files:/made', dir);
    expect(readFileSync(join(dir, 'back', 'deep', 'one'), 'utf8')).toBe('first');
    expect(readFileSync(join(dir, 'made'), 'utf8')).toBe('made\n');
    expect(await cluster.must('diff', 'files')).toContain('A /tmp/files/deep/one\n');
    const missed = await covey('cp', 'files:/none', dir);
    expect(missed).toMatchObject({
      code: 1,
      err: expect.stringContaining('Could not find the file /none in container files'),
    });
    const tar = join(dir, 'files.tar');
    await cluster.must('export', '-o', tar, 'files');
    expect((await execute('tar', ['-xOf', tar, 'made'])).stdout).toBe('made\n');
    await cluster.must('image', 'import', '-c', 'CMD ["cat","/made"]', tar, 'flat:1');
    expect(await cluster.must('run', '--rm', 'flat:1')).toBe('made\n');
    const digest = await cluster.must(
      'commit',
      '-m',
      'by hand',
      '-c',
      'CMD ["cat","/made","/tmp/files/deep/one"]',
      'files',
      'kept:1',
    );
    const [kept] = JSON.parse(await cluster.must('image', 'inspect', 'kept:1')) as readonly { readonly Id: string }[];
    expect(`${kept?.Id}\n`).toBe(digest);
    expect(await cluster.must('run', '--rm', '--node', 'n1', 'kept:1')).toBe('made\nfirst');
    expect(await cluster.must('image', 'history', '--no-trunc', 'kept:1')).toContain('by hand');
    await cluster.must('image', 'rm', 'kept:1');
    await cluster.must('rm', '-f', 'files');
    // One that went with its end has no claim any more, though nobody has looked: its image may go.
    await cluster.must('run', '-d', '--rm', '--node', 'n1', 'flat:1');
    await until('its claim is dropped', 20_000, async () => (await covey('image', 'rm', 'flat:1')).code === 0);
  });

  it('keeps a volume of its node from one to the next, and is shown folders, memory and devices', async () => {
    const run = (...args: readonly string[]): Promise<Said> => covey('run', '--rm', '--node', 'n2', ...args);
    const dir = join(cluster.dir, 'shown');
    expect(await run('-v', 'kept:/tmp', 'shell:1', 'sh', '-c', 'echo kept > /tmp/it')).toMatchObject({ code: 0 });
    const flags = [
      '--mount',
      'type=volume,src=kept,dst=/tmp,readonly',
      '-v',
      `${dir}:/opt`,
      '--tmpfs',
      '/mnt:size=64k',
    ];
    const script = 'cat /tmp/it; echo x > /tmp/x; echo y > /opt/y; echo z > /mnt/z; cat /mnt/z';
    const shown = await run(...flags, '--device', '/dev/zero:/dev/nought:r', 'shell:1', 'sh', '-c', script);
    expect(shown.out).toBe('kept\nz\n');
    expect(shown.err).toContain('/tmp/x');
    expect(readFileSync(join(dir, 'y'), 'utf8')).toBe('y\n');
    expect(await run('--mount', 'type=bind,src=/none,dst=/opt', 'shell:1', 'true')).toMatchObject({
      code: 125,
      err: expect.stringContaining('bind source path does not exist: /none'),
    });
    expect(await cluster.must('volume', 'ls', '--format', '{{.Node}} {{.Name}}')).toBe('n2 kept\n');
    expect(await cluster.must('volume', 'rm', 'kept')).toBe('kept\n');
    expect(await covey('volume', 'rm', 'kept')).toMatchObject({ code: 1, out: '' });
  });

  it('has an address of its node and a port on it, or no network at all', async () => {
    const flags = ['-d', '--name', 'web', '--node', 'n1', '-p', '8099:80'];
    await cluster.must('run', ...flags, 'web:1');
    const { NetworkSettings } = await inspect('web');
    expect(NetworkSettings.IPAddress).toMatch(/^10\./);
    const host = (await cluster.status()).hosts.find(({ name }) => name === 'n1');
    const answer = await until('it answers', 20_000, async () => {
      return await execute('curl', ['-s', '-m', '2', `http://${host?.address}:8099/`]).then(
        ({ stdout }) => stdout,
        () => undefined,
      );
    });
    expect(answer).toContain('1');
    expect(await cluster.must('port', 'web')).toBe('80/tcp -> 0.0.0.0:8099\n');
    const none = await cluster.must('run', '--rm', '--network', 'none', 'shell:1', 'cat', '/proc/net/dev');
    expect(none).not.toContain('eth0');
    const shared = await cluster.must(
      'run',
      '--rm',
      '--network',
      'host',
      '--userns',
      'host',
      '--node',
      'n1',
      'shell:1',
      'cat',
      '/proc/net/route',
    );
    const routes = readFileSync('/proc/self/net/route', 'utf8');
    expect(shared).not.toBe(routes);
    expect(await covey('run', '--network', 'host', 'shell:1')).toMatchObject({
      code: 125,
      err: expect.stringContaining('--userns host'),
    });
    await cluster.must('rm', '-f', 'web');
  });

  it('is run again by its policy, and not once it was stopped', async () => {
    await cluster.must('run', '-d', '--name', 'again', '--restart', 'on-failure:2', 'shell:1', 'sh', '-c', 'exit 9');
    const over = await until('it was given up', 20_000, async () => {
      const found = await inspect('again');
      return found.State.Status === 'exited' && found.RestartCount === 2 ? found : undefined;
    });
    expect(over.State.ExitCode).toBe(9);
    await cluster.must('run', '-d', '--name', 'always', '--restart', 'always', 'shell:1');
    const { State } = await inspect('always');
    process.kill(State.Pid, 'SIGKILL');
    await until('it runs again', 20_000, async () => {
      const found = await inspect('always');
      return found.State.Status === 'running' && found.State.Pid !== State.Pid;
    });
    await cluster.must('stop', '-t', '0', 'always');
    expect((await inspect('always')).State.Status).toBe('exited');
    await cluster.must('rm', 'again', 'always');
    expect(await ps('-a')).toEqual([]);
  });
});

it('does the same through a manager that follows, and for one whose node was away', async () => {
  const { managers, context } = await cluster.status();
  const leader = /Leader: +(\S+)/.exec(await cluster.must('cluster', 'info'))?.[1];
  const follower = managers.find(({ address }) => address !== leader)?.address;
  const other = join(cluster.dir, 'follower.json');
  const own = JSON.parse(readFileSync(context, 'utf8')) as object;
  writeFileSync(other, JSON.stringify({ ...own, managers: [follower] }), { mode: 0o600 });
  const through = (...args: readonly string[]): Promise<Said> => covey('--context', other, ...args);
  const said = await through('run', '--rm', '-m', '32m', '--node', 'n2', 'shell:1', 'sh', '-c', 'echo here; exit 3');
  expect(said).toEqual({ code: 3, out: 'here\n', err: '' });
  await through('run', '-d', '--name', 'far', '--node', 'n2', 'shell:1', 'sleep', '1000');
  expect(await through('update', '-m', '48m', '--restart', 'always', 'far')).toMatchObject({ code: 0, out: 'far\n' });
  expect(await through('update', '-m', '1', 'far')).toMatchObject({ code: 1, err: expect.stringContaining('4 MiB') });
  const shown = await through('stats', '--no-stream', '--format', '{{.Name}} {{.MemUsage}} {{.PIDs}}', 'far');
  expect(shown.out).toMatch(/^far [\d.]+[KM]iB \/ 48MiB 1\n$/);
  expect((await through('inspect', '-f', '{{.HostConfig.RestartPolicy.Name}}', 'far')).out).toBe('always\n');
  await cluster.door('fail', 'n2', 'link');
  const away = await until('its node does not answer', 30_000, async () => {
    const seen = await through('ps', '--format', '{{.Names}} {{.State}}');
    return seen.out === 'far unknown\n' ? seen : undefined;
  });
  expect(away).toMatchObject({ code: 0, err: expect.stringContaining('node n2 was not asked') });
  expect(await through('stop', 'far')).toMatchObject({ code: 1, err: expect.stringContaining('cannot be reached') });
  await cluster.door('heal', 'n2');
  await until('it is there again', 60_000, async () => (await through('rm', '-f', 'far')).out === 'far\n');
  expect(await ps('-a')).toEqual([]);
});

it('saves an image that skopeo copies and the cluster takes back under the same digest', async () => {
  const path = join(cluster.dir, 'saved.tar');
  const [before] = JSON.parse(await cluster.must('image', 'inspect', 'shell:1')) as readonly { readonly Id: string }[];
  await cluster.must('image', 'save', '-o', path, 'shell:1');
  await execute('skopeo', ['copy', '-q', `oci-archive:${path}:1`, `dir:${join(cluster.dir, 'copied')}`]);
  expect(await cluster.must('image', 'rm', 'shell:1')).toBe(`Untagged: shell:1\nDeleted: ${before?.Id}\n`);
  expect(await cluster.must('image', 'load', path)).toBe('Loaded image: shell:1\n');
  const [after] = JSON.parse(await cluster.must('image', 'inspect', 'shell:1')) as readonly { readonly Id: string }[];
  expect(after?.Id).toBe(before?.Id);
});
