/** Users' commands in containers: streams, terminals, users, ends. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { DEFAULT_PROCESS_RULES } from '../../../common/model/process-rules.ts';
import { native } from '../../../native/index.ts';
import { heard, openExec, Typist } from '../../support/exec-world.ts';
import { NativeWorld, outputOf, until } from '../../support/native-world.ts';

const world = new NativeWorld();
let container: Container;

beforeAll(async () => {
  world.addShell();
  container = await world.started(['sleep'], { template: { env: ['COLOUR=blue'] } });
});
afterAll(() => world.destroy());

const sh = (script: string, wanted: Parameters<typeof openExec>[3] = {}) =>
  openExec(world.runtime, container.id, ['sh', '-c', script], wanted);

/** Processes in the container's own tree, by the freezer's count of exec cgroups. */
function execCgroups(): readonly string[] {
  const folder = native().cgroupFolder('freezer', `${world.cgroupParent}/${container.id}`) ?? '';
  return readdirSync(folder).filter((name) => name.startsWith('exec-'));
}

describe('a command', () => {
  it('has the OOM score of its container, not the agent’s', async () => {
    const process = { ...DEFAULT_PROCESS_RULES, oomScoreAdj: 321 };
    const { id } = await world.started(['sleep'], { template: { process } });
    const args = ['cat', '/proc/self/oom_score_adj'];
    expect((await heard(await openExec(world.runtime, id, args))).out).toBe('321\n');
    const probe = { args, env: [], timeoutMs: 10_000, outputMaxBytes: 100 };
    expect((await world.runtime.exec(id, probe, AbortSignal.timeout(20_000))).output).toBe('321\n');
  });
});

describe('streams', () => {
  it('carries stdin, stdout, stderr and the exit code', async () => {
    expect(await heard(await sh('cat; echo no >&2; exit 7'), 'hello\n')).toEqual({
      code: 7,
      out: 'hello\n',
      err: 'no\n',
    });
  });

  it('gives 128 and the signal for a command that was killed', async () => {
    expect((await heard(await sh('kill -9 $$'))).code).toBe(137);
  });

  it('reads /dev/null without stdin', async () => {
    expect(await heard(await sh('cat; echo end', { stdin: false }))).toMatchObject({ code: 0, out: 'end\n' });
  });

  it('passes 10 MB through byte for byte when the reader is slow, holding back the writer', async () => {
    const bytes = randomBytes(10 << 20);
    const session = await openExec(world.runtime, container.id, ['cat']);
    let written = 0;
    const feed = (async () => {
      for (let at = 0; at < bytes.length; at += 32_768) {
        await session.write(bytes.subarray(at, at + 32_768));
        written = at;
      }
      session.closeInput();
    })();
    const reader = session.output[Symbol.asyncIterator]();
    const first = await reader.next();
    const hash = createHash('sha256');
    let read = 0;
    const take = (chunk: Uint8Array): void => {
      hash.update(chunk);
      read += chunk.length;
    };
    // Nothing more is read until the writer has stood still: two pipes and two buffers are all there may be in between.
    let before = -1;
    await until(() => {
      const stands = before === written && written > 0;
      before = written;
      return stands;
    }, 'the writer waits');
    expect(written).toBeLessThan(1 << 20);
    if (first.done !== true) take(first.value.bytes);
    for (let next = await reader.next(); next.done !== true; next = await reader.next()) take(next.value.bytes);
    await feed;
    expect(await session.ended).toBe(0);
    expect(read).toBe(bytes.length);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('ends with the command though a process it left behind holds its stdout', async () => {
    const said = await heard(await sh('sleep 1000 & echo $!'));
    expect(said.code).toBe(0);
    expect((await heard(await sh(`kill -9 ${said.out.trim()}`))).code).toBe(0);
    await until(() => readPids().length === 0, 'it is gone');
  });

  it('runs a detached command on after its start, without streams', async () => {
    const session = await sh('sleep 0.2; echo done > /tmp/detached', { detached: true });
    expect(await session.ended).toBe(0);
    expect((await heard(await sh('cat /tmp/detached'))).out).toBe('done\n');
  });
});

describe('who and where', () => {
  it('has the container’s environment, the extra variables above it', async () => {
    expect((await heard(await sh('echo $COLOUR $SIZE', { env: ['SIZE=big'] }))).out).toBe('blue big\n');
  });

  it('becomes another user with that user’s home and streams that it may open again', async () => {
    const said = await heard(await sh('id -u; echo $HOME; echo again > /dev/stdout', { user: 'guest' }));
    expect(said).toMatchObject({ code: 0, out: '1000\n/home/guest\nagain\n' });
  });

  it('refuses a user that the container does not know', async () => {
    await expect(sh('id', { user: 'nobody-here' })).rejects.toThrow(/nobody-here/);
  });

  it('starts in the folder asked for', async () => {
    expect((await heard(await sh('pwd', { workdir: '/tmp' }))).out).toBe('/tmp\n');
  });

  it('has the container’s capabilities, and all of the host’s when privileged', async () => {
    const effective = async (privileged: boolean) => {
      const { out } = await heard(await sh('cat /proc/self/status', { privileged }));
      return BigInt(`0x${/CapEff:\s*([0-9a-f]+)/.exec(out)?.[1]}`);
    };
    const own = BigInt(`0x${/CapEff:\s*([0-9a-f]+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`);
    expect(await effective(false)).toBe(0xa80425fbn);
    expect(await effective(true)).toBe(own);
  });

  it('sees the container’s processes, and is seen among them', async () => {
    const { out } = await heard(await sh('cat /proc/1/cmdline | tr "\\0" " "; echo; echo $$; ls -d /proc/$$'));
    expect(out).toMatch(/^\/bin\/init sleep \n(\d+)\n\/proc\/\1\n$/);
  });

  it('says which command is missing, which is not executable, and which folder is not there', async () => {
    const open = (command: string) => openExec(world.runtime, container.id, [command]);
    await expect(open('nothing')).rejects.toThrow('command "nothing" does not exist in the image');
    await expect(open('/etc/passwd')).rejects.toThrow('command "/etc/passwd" is not executable');
    await expect(sh('true', { workdir: '/nowhere' })).rejects.toThrow('working directory "/nowhere"');
  });
});

describe('ends', () => {
  it('kills the command and all it has started when it is told to', async () => {
    const before = execCgroups();
    const session = await sh('(sleep 1000 &) ; sleep 1000');
    await until(() => readPids().length >= 2, 'both run');
    session.kill();
    expect(await session.ended).toBe(137);
    expect(readPids()).toHaveLength(0);
    expect(execCgroups()).toEqual(before);
  });

  it('refuses a container that has ended', async () => {
    const other = await world.started(['exit', '0']);
    await until(() => existsSync(join(world.folder, 'state', other.id, 'exit.json')), 'it has ended');
    await world.runtime.wait(other.id, new AbortController().signal);
    await expect(openExec(world.runtime, other.id, ['sh'])).rejects.toMatchObject({ code: 'conflict' });
  });
});

/** Host pids in the exec cgroups of the container. */
function readPids(): readonly string[] {
  const folder = native().cgroupFolder('freezer', `${world.cgroupParent}/${container.id}`) ?? '';
  return execCgroups().flatMap((name) =>
    readFileSync(join(folder, name, 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter((line) => line !== ''),
  );
}

describe('terminals', () => {
  const terminal = (script: string, wanted: Parameters<typeof openExec>[3] = {}) =>
    sh(script, { terminal: { rows: 24, columns: 80 }, ...wanted });

  it('gives the command a terminal of the container with the size asked for', async () => {
    const typist = new Typist(await terminal('tty; stty size; echo $TERM'));
    expect(await typist.ended()).toBe(0);
    expect(typist.heard).toBe('/dev/pts/0\r\n24 80\r\nxterm\r\n');
  });

  it('tells a change of its size', async () => {
    const session = await terminal('trap "stty size" WINCH; echo ready; while read -r line; do echo $line; done');
    const typist = new Typist(session);
    await typist.sees('ready');
    session.resize({ rows: 50, columns: 132 });
    await typist.type('on\n');
    await typist.sees('50 132');
    await typist.type('\u0004');
    await typist.ended();
  });

  it('sends Ctrl-C to the command in the foreground only', async () => {
    const typist = new Typist(await terminal('trap ":" INT; sh -c "echo ready; exec sleep 1000"; echo code $?'));
    await typist.sees('ready');
    await typist.type('\u0003');
    await typist.sees('code 130');
    expect(await typist.ended()).toBe(0);
  });

  it('belongs to the user of the command', async () => {
    const typist = new Typist(await terminal('echo x > $(tty) && echo mine', { user: 'guest' }));
    await typist.ended();
    expect(typist.heard).toContain('mine');
  });

  it('shows all of a long output though the command has ended', async () => {
    const typist = new Typist(await terminal('i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done'));
    expect(await typist.ended()).toBe(0);
    expect(typist.heard.split('\r\n').slice(0, -1)).toEqual(Array.from({ length: 3_000 }, (_, i) => `line-${i}`));
  });

  it('hangs up what was left in it when the caller goes', async () => {
    const session = await terminal('sleep 1000');
    await until(() => readPids().length >= 1, 'it runs');
    session.kill();
    expect(await session.ended).toBe(137);
    expect(readPids()).toHaveLength(0);
  });
});

describe('the container’s own terminal', () => {
  it('is stdin, stdout and /dev/console of its command, and its output is the log', async () => {
    const own = await world.started(['sh', '-c', 'tty; echo $TERM; echo to-console > /dev/console'], {
      template: { tty: true },
      image: { entrypoint: [] },
    });
    await world.runtime.wait(own.id, new AbortController().signal);
    expect(outputOf(own)).toBe('/dev/pts/0\r\nxterm\r\nto-console\r\n');
  });

  it('can be resized while it runs; a container without one says so', async () => {
    const own = await world.started(
      ['sh', '-c', 'trap "stty size" WINCH; echo ready; while :; do sleep 1 & wait; done'],
      {
        template: { tty: true },
        image: { entrypoint: [] },
      },
    );
    await world.said(own, 'ready');
    await world.runtime.resize(own.id, { rows: 43, columns: 99 });
    await world.said(own, '43 99');
    await world.runtime.remove(own.id);
    await expect(world.runtime.resize(container.id, { rows: 1, columns: 1 })).rejects.toThrow(/no terminal/);
  });
});
