/** `covey exec`: commands in containers of any node, through any manager, on pipes and on a real terminal. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { DevCluster, type Said } from '../support/dev-cluster.ts';
import { buildShellImage } from '../support/shell-image.ts';
import { until } from '../support/until.ts';

type Manager = Status['managers'][number];

let cluster: DevCluster;
let leader: Manager;
/** A context file that knows the manager only that does not lead. */
let byFollower: string;

beforeAll(async () => {
  cluster = await DevCluster.up('--hosts', '2', '--managers', '2');
  await cluster.must('image', 'load', buildShellImage(cluster.dir));
  await cluster.must('service', 'create', '--name', 'box', '--replicas', '2', '--env', 'COLOUR=blue', 'shell:1');
  const { managers, context } = await cluster.status();
  const { Leader } = JSON.parse(await cluster.must('cluster', 'info', '--format', 'json')) as { Leader: string };
  leader = managers.find(({ address }) => address === Leader) as Manager;
  const others = managers.filter(({ address }) => address !== Leader).map(({ address }) => address);
  byFollower = join(cluster.dir, 'follower-only.json');
  const whole = JSON.parse(readFileSync(context, 'utf8')) as object;
  writeFileSync(byFollower, JSON.stringify({ ...whole, managers: others }), { mode: 0o600 });
});
afterAll(() => cluster?.clean());

/** Runs the CLI with input of ours. */
function typed(input: string | Buffer, ...args: readonly string[]): Promise<Said> {
  const child = cluster.spawn(...args);
  child.stdin?.end(input);
  return ended(child);
}

async function ended(child: ChildProcess): Promise<Said> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr?.on('data', (bytes: Buffer) => err.push(bytes));
  const code = await new Promise<number>((resolve) => child.once('close', (status) => resolve(status ?? 128)));
  // Latin-1 keeps bytes apart that are no UTF-8.
  return { code, out: Buffer.concat(out).toString('latin1'), err: Buffer.concat(err).toString('utf8') };
}

/** Host pids of `sleep SECONDS`. */
function sleeping(seconds: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`sleep\0${seconds}\0`);
    } catch {
      return false;
    }
  });
}

const runs = (seconds: string) => until('it runs', 20_000, () => sleeping(seconds).length === 1);
const isGone = (...all: readonly string[]) =>
  until('nothing of it is left', 20_000, () => all.every((seconds) => sleeping(seconds).length === 0));

describe('a command', () => {
  it('runs in the task asked for, on whichever node it is, through any manager, and gives its exit code', async () => {
    const tasks = await cluster.tasks('box');
    expect(new Set(tasks.map((task) => task.Node)).size).toBe(2);
    for (const slot of ['1', '2']) {
      const script = 'cat /etc/hostname; echo $COLOUR; exit 3';
      const said = await cluster.covey('--context', byFollower, 'exec', `box.${slot}`, 'sh', '-c', script);
      const task = tasks.find((each) => each.Name.startsWith(`box.${slot}`));
      expect(said).toMatchObject({ code: 3, out: `${task?.ID.slice(0, 12)}\nblue\n` });
      expect((await cluster.covey('exec', task?.ID ?? '', 'sh', '-c', 'echo by id >&2')).err).toBe('by id\n');
    }
  });

  it('gives 128 and the signal that killed it', async () => {
    expect((await cluster.covey('exec', 'box.1', 'sh', '-c', 'kill -9 $$')).code).toBe(137);
  });

  it('takes stdin to its end only with -i', async () => {
    expect(await typed('one\ntwo\n', 'exec', '-i', 'box.1', 'cat')).toMatchObject({ code: 0, out: 'one\ntwo\n' });
    expect(await typed('one\n', 'exec', 'box.1', 'cat')).toMatchObject({ code: 0, out: '' });
  });

  it('passes 10 MB through byte for byte, from one manager to the other and to the node and back', async () => {
    const bytes = randomBytes(10 << 20);
    const said = await typed(bytes, '--context', byFollower, 'exec', '-i', 'box.2', 'cat');
    expect(said.code, said.err).toBe(0);
    expect(Buffer.from(said.out, 'latin1').equals(bytes)).toBe(true);
  });

  it('runs as the user, in the folder and with the variables asked for', async () => {
    const script = 'id -u; pwd; echo $A $B';
    const flags = ['-u', 'guest', '-w', '/tmp', '-e', 'A=1', '--env', 'B=two words'];
    expect(await cluster.covey('exec', ...flags, 'box.1', 'sh', '-c', script)).toMatchObject({
      code: 0,
      out: '1000\n/tmp\n1 two words\n',
    });
  });

  it('ends with 127 when it does not exist and with 126 when it cannot be run', async () => {
    // Input is already on its way when the node says so.
    const missing = await typed('x'.repeat(1 << 20), 'exec', '-i', 'box.1', 'nothing');
    expect(missing).toMatchObject({ code: 127, err: expect.stringContaining('command "nothing" does not exist') });
    const barred = await cluster.covey('exec', 'box.1', '/etc/passwd');
    expect(barred).toMatchObject({ code: 126, err: expect.stringContaining('is not executable') });
  });

  it('goes on by itself with --detach', async () => {
    const script = 'sleep 0.3; echo done > /tmp/detached';
    expect(await cluster.covey('exec', '-d', 'box.1', 'sh', '-c', script)).toMatchObject({ code: 0, out: '' });
    await until('it has ended', 10_000, async () => {
      return (await cluster.covey('exec', 'box.1', 'cat', '/tmp/detached')).out === 'done\n';
    });
  });

  it('dies with all it has started when its user goes', async () => {
    const child = cluster.spawn('exec', 'box.2', 'sh', '-c', '(sleep 7771 &); sleep 7772');
    await Promise.all([runs('7771'), runs('7772')]);
    child.kill('SIGKILL');
    await isGone('7771', '7772');
  });

  it('dies with its container', async () => {
    const flags = ['--detach', '--name', 'fleeting', '--stop-grace-period', '100ms'];
    await cluster.must('service', 'create', ...flags, 'shell:1');
    await cluster.untilRunning('fleeting', 1, 20_000);
    const said = ended(cluster.spawn('exec', 'fleeting.1', 'sleep', '7776'));
    await runs('7776');
    await cluster.must('service', 'rm', 'fleeting');
    expect((await said).code).toBe(137);
    await isGone('7776');
  });
});

describe('what cannot be', () => {
  it('is told with the name of the task that is not there or does not run', async () => {
    for (const ref of ['nosuch.1', 'box.9']) {
      const said = await cluster.covey('exec', ref, 'sh');
      expect(said).toMatchObject({ code: 1, err: expect.stringContaining(`task "${ref}" is not in the cluster`) });
    }
    const brief = ['--name', 'brief', '--restart-condition', 'none', '--detach', 'shell:1', 'sh', '-c', 'exit 0'];
    await cluster.must('service', 'create', ...brief);
    await until('it has ended', 20_000, async () => {
      return (await cluster.tasks('brief')).every((task) => task.CurrentState.startsWith('Complete'));
    });
    expect(await cluster.covey('exec', 'brief.1', 'sh')).toMatchObject({
      code: 1,
      err: expect.stringContaining('task "brief.1" does not run but is complete'),
    });
  });

  it('is told with the flag', async () => {
    expect(await typed('', 'exec', '-it', 'box.1', 'sh')).toMatchObject({
      code: 2,
      err: expect.stringContaining('our stdin is no terminal'),
    });
    expect((await cluster.covey('exec', '--detach-keys', 'ctrl-1', '-t', 'box.1', 'sh')).code).toBe(2);
    expect((await cluster.covey('exec', '-e', '=x', 'box.1', 'sh')).code).toBe(2);
  });
});

describe('on a terminal', () => {
  it('is of our size, follows it, echoes, and passes Ctrl-C on to what runs in it', async () => {
    const screen = cluster.onTerminal(31, 97, 'exec', '-it', 'box.2', 'sh');
    await screen.sees('# ');
    screen.type('stty size; tty\n');
    await screen.sees('31 97');
    await screen.sees('/dev/pts/0');
    await screen.resize(40, 111);
    // The new size takes its way as the keys take theirs.
    screen.type('until stty size | cat - | { read r c; test $r = 40; }; do :; done; stty size\n');
    await screen.sees('40 111');
    screen.type('sh -c "echo be""gun; exec sleep 7773"\n');
    await screen.sees('begun');
    screen.type('\u0003');
    await screen.sees('^C');
    screen.type('echo code-$?\n');
    await screen.sees('code-130');
    screen.type('exit 5\n');
    expect(await screen.code).toBe(5);
    expect(screen.isCooked, screen.shown).toBe(true);
  });

  it('lets the command go on after the detach keys', async () => {
    const screen = cluster.onTerminal(24, 80, 'exec', '-it', 'box.2', 'sh', '-c', 'echo $$-be""gun; exec sleep 7774');
    await screen.sees('begun');
    screen.type('\u0010\u0011');
    expect(await screen.code).toBe(0);
    expect(screen.isCooked, screen.shown).toBe(true);
    expect(sleeping('7774')).toHaveLength(1);
    await cluster.must('exec', 'box.2', 'kill', '-9', /(\d+)-begun/.exec(screen.shown)?.[1] ?? '');
    await isGone('7774');
  });

  it('hears the detach keys behind input that the command does not read', async () => {
    const script = 'stty raw -echo; echo $$-be""gun; exec sleep 7778';
    const screen = cluster.onTerminal(24, 80, 'exec', '-it', 'box.2', 'sh', '-c', script);
    await screen.sees('begun');
    screen.type('x'.repeat(300_000));
    screen.type('\u0010\u0011');
    expect(await screen.code).toBe(0);
    expect(sleeping('7778')).toHaveLength(1);
    await cluster.must('exec', 'box.2', 'kill', '-9', /(\d+)-begun/.exec(screen.shown)?.[1] ?? '');
    await isGone('7778');
  }, 30_000);

  it('takes more than fits on the way when the command reads, without a loss', async () => {
    const script = 'stty raw -echo; echo be""gun; head -c 300000 | wc -c; stty sane';
    const screen = cluster.onTerminal(24, 80, 'exec', '-it', 'box.2', 'sh', '-c', script);
    await screen.sees('begun');
    screen.type('x'.repeat(300_000));
    await screen.sees('300000');
    expect(await screen.code).toBe(0);
  });

  it('gives ours back as it was when we are told to go, and the command ends', async () => {
    const screen = cluster.onTerminal(24, 80, 'exec', '-it', 'box.2', 'sh', '-c', 'echo be""gun; exec sleep 7777');
    await screen.sees('begun');
    process.kill(await screen.pid(), 'SIGTERM');
    expect(await screen.code).toBe(143);
    expect(screen.isCooked, screen.shown).toBe(true);
    await isGone('7777');
  });
});

describe('a service with --tty', () => {
  it('runs on a terminal, and its logs tell what that shows', async () => {
    const script = 'tty; echo to-stdout; echo to-stderr >&2; exec sleep 1000000';
    const flags = ['--detach', '--name', 'screen', '--tty', '--stop-grace-period', '100ms'];
    await cluster.must('service', 'create', ...flags, 'shell:1', 'sh', '-c', script);
    const { out } = await until('its log is whole', 20_000, async () => {
      const said = await cluster.covey('service', 'logs', 'screen');
      return said.out.includes('to-stderr') && said;
    });
    const shown = out.split('\n').map((line) => line.replace(/^.*\| /, ''));
    expect(shown).toEqual(['/dev/pts/0\r', 'to-stdout\r', 'to-stderr\r', '']);
    const said = await cluster.covey('exec', 'screen.1', 'sh', '-c', 'echo typed-in > /dev/pts/0');
    expect(said).toMatchObject({ code: 0, err: '' });
    await until('it is in the log', 20_000, async () => {
      return (await cluster.covey('service', 'logs', 'screen')).out.includes('| typed-in\r\n');
    });
    await cluster.must('service', 'rm', 'screen');
  });
});

describe('who goes on the way', () => {
  it('is named, and nothing of the command is left: the leading manager, under a terminal and under pipes', async () => {
    const screen = cluster.onTerminal(24, 80, 'exec', '-it', 'box.1', 'sleep', '7778');
    const piped = ended(cluster.spawn('--context', byFollower, 'exec', 'box.2', 'sleep', '7779'));
    await Promise.all([runs('7778'), runs('7779')]);
    process.kill(leader.pid ?? 0, 'SIGKILL');
    expect(await screen.code).toBe(1);
    expect(screen.shown).toContain('how the command ended is not known');
    expect(screen.isCooked, screen.shown).toBe(true);
    expect(await piped).toMatchObject({ code: 1, err: expect.stringContaining('how the command ended is not known') });
    await isGone('7778', '7779');
  });

  it('is named, and nothing of the command is left: the node’s agent', async () => {
    await until(
      'a manager leads',
      30_000,
      async () => (await cluster.covey('exec', 'box.1', 'sh', '-c', ':')).code === 0,
    );
    const [task] = await cluster.running('box');
    const node = task?.Node ?? '';
    const said = ended(cluster.spawn('exec', task?.ID ?? '', 'sleep', '7775'));
    await runs('7775');
    await cluster.door('fail', node, 'agent');
    expect(await said).toMatchObject({ code: 1, err: expect.stringContaining(`node ${node} broke off`) });
    await isGone('7775');
    await until('it is told that the node is down', 10_000, async () => {
      const { code, err } = await cluster.covey('exec', task?.ID ?? '', 'sh');
      return code === 1 && err.includes(`cannot be reached: node ${node} is down`);
    });
  });
});
