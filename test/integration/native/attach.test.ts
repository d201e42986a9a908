import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExecSession } from '../../../agent/runtime/exec.ts';
import type { CreateRequest } from '../../../agent/runtime/runtime.ts';
import { forever, NativeWorld, outputOf } from '../../support/native-world.ts';

let world: NativeWorld;

beforeAll(() => {
  world = new NativeWorld();
  world.addShell();
});
afterAll(() => world.destroy());

const shell = (script: string, change: Partial<CreateRequest> = {}, tty?: true): CreateRequest => ({
  ...world.request(['-c', script], {
    image: { entrypoint: ['/bin/sh'] },
    template: tty === undefined ? {} : { tty },
  }),
  isLasting: true,
  ...change,
});

async function heard(session: ExecSession): Promise<{ stdout: string; stderr: string }> {
  const all = { stdout: '', stderr: '' };
  for await (const { stream, bytes } of session.output) all[stream] += Buffer.from(bytes).toString('latin1');
  return all;
}

async function attached(request: CreateRequest): Promise<ExecSession> {
  await world.runtime.create(request, forever);
  const session = await world.runtime.attach(request.id, { types: request.input !== undefined }, forever);
  await world.runtime.start(request.id, forever);
  return session;
}

describe('attaching to a container', () => {
  it('misses nothing of one that ends at once, and its log has it too', async () => {
    const session = await attached(shell('echo out; echo err >&2; exit 3'));
    expect(await heard(session)).toEqual({ stdout: 'out\n', stderr: 'err\n' });
    expect(await session.ended).toBe(3);
    const container = (await world.runtime.list(forever)).at(-1);
    expect(outputOf(container as NonNullable<typeof container>)).toContain('out');
  });

  it('brings what is typed, and the end of it', async () => {
    const session = await attached(shell('cat; echo over', { input: 'once' }));
    await session.write(Buffer.from('hello '));
    await session.write(Buffer.from('world\n'));
    session.closeInput();
    expect(await heard(session)).toEqual({ stdout: 'hello world\nover\n', stderr: '' });
    expect(await session.ended).toBe(0);
  });

  it('moves megabytes in and out without losing a byte, however slowly they are read', async () => {
    const session = await attached(shell('cat', { input: 'once' }));
    const bytes = Buffer.alloc(3_000_000, 'abcdefghij');
    const typing = (async () => {
      for (let at = 0; at < bytes.length; at += 30_000) await session.write(bytes.subarray(at, at + 30_000));
      session.closeInput();
    })();
    const { stdout } = await heard(session);
    await typing;
    expect(Buffer.from(stdout, 'latin1').equals(bytes)).toBe(true);
    expect(await session.ended).toBe(0);
  });

  it('lets several listen, and one leave, without the container noticing', async () => {
    const request = shell('read line; echo "got $line"; sleep 0.01; echo end', { input: 'kept' });
    const first = await attached(request);
    const second = await world.runtime.attach(request.id, { types: true }, forever);
    first.detach();
    await heard(first);
    await second.write(Buffer.from('word\n'));
    expect(await heard(second)).toEqual({ stdout: 'got word\nend\n', stderr: '' });
    expect(await second.ended).toBe(0);
  });

  it('is a terminal where the container has one', async () => {
    const session = await attached(shell('stty size; read x; echo "x=$x"; tty', { input: 'once' }, true));
    session.resize({ rows: 33, columns: 99 });
    await session.write(Buffer.from('yes\r'));
    const { stdout, stderr } = await heard(session);
    expect(stderr).toBe('');
    expect(stdout).toContain('x=yes\r\n/dev/');
    expect(await session.ended).toBe(0);
  });

  it('does not hold up a container whose listener is gone without a word', async () => {
    const session = await attached(shell('head -c 20000000 /dev/zero; echo done >&2'));
    session.kill();
    expect(await session.ended).toBe(0);
  });

  it('refuses a container that has ended', async () => {
    const request = shell('true');
    const session = await attached(request);
    await heard(session);
    await session.ended;
    await expect(world.runtime.attach(request.id, { types: false }, forever)).rejects.toMatchObject({
      code: 'conflict',
    });
  });
});

describe('making a container once more', () => {
  it('keeps what it wrote and its log, and takes another command and other files', async () => {
    const files = [{ target: '/etc/hostname', content: 'one\n' }];
    const request = shell('echo first > /kept; echo one', { files });
    await heard(await attached(request));
    await world.runtime.wait(request.id, forever);
    const next = { ...request, template: { ...request.template, args: ['-c', 'cat /kept /etc/hostname'] } };
    await world.runtime.remake({ ...next, files: [{ target: '/etc/hostname', content: 'two\n' }] }, forever);
    const session = await world.runtime.attach(request.id, { types: false }, forever);
    await world.runtime.start(request.id, forever);
    expect((await heard(session)).stdout).toBe('first\ntwo\n');
    expect(await session.ended).toBe(0);
    const container = (await world.runtime.list(forever)).find(({ id }) => id === request.id);
    expect(outputOf(container as NonNullable<typeof container>)).toBe('one\nfirst\ntwo\n');
  });

  it('leaves it ended when it cannot be made', async () => {
    const request = shell('echo > /gone; exit 5');
    await heard(await attached(request));
    await world.runtime.wait(request.id, forever);
    const bad = { ...request, template: { ...request.template, entrypoint: ['/nothing'] } };
    await expect(world.runtime.remake(bad, forever)).rejects.toMatchObject({ code: 'invalid' });
    const other = world.newRuntime();
    const found = (await other.list(forever)).find(({ id }) => id === request.id);
    expect(found).toMatchObject({ state: 'exited', exit: { code: 5 } });
    other.close();
    await world.runtime.remake(request, forever);
    await world.runtime.start(request.id, forever);
    expect((await world.runtime.wait(request.id, forever)).code).toBe(5);
  });

  it('refuses one that was made for a single run', async () => {
    const { isLasting, ...request } = shell('true');
    expect(isLasting).toBe(true);
    await world.runtime.create(request, forever);
    await world.runtime.start(request.id, forever);
    await world.runtime.wait(request.id, forever);
    await expect(world.runtime.remake(request, forever)).rejects.toMatchObject({ code: 'conflict' });
  });
});
