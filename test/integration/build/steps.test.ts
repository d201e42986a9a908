import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BuildWorld, type Said } from '../../support/build-world.ts';

let world: BuildWorld;
beforeAll(async () => {
  world = await BuildWorld.open();
  await world.addBase('base:1');
});
afterAll(() => world.destroy());

/** The built image's files. */
async function treeOf(dockerfile: string, said: Said = {}): Promise<string> {
  return await world.tree((await world.build(dockerfile, said)).digest);
}

const text = (tree: string, path: string): string => readFileSync(join(tree, path), 'utf8');
const facts = (tree: string, path: string): string => {
  const { mode, uid, gid } = lstatSync(join(tree, path));
  return `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
};

describe('RUN', () => {
  it('runs in the image so far, and what it changes is the layer', async () => {
    const { digest, output, steps } = await world.build(
      'FROM base:1\nRUN echo hello; echo more >&2; echo x > /made; rm /etc/group',
    );
    expect(output).toBe('hello\nmore\n');
    expect(steps.at(-1)).toBe('[1/1] RUN echo hello; echo more >&2; echo x > /made; rm /etc/group done');
    const tree = await world.tree(digest);
    expect(text(tree, 'made')).toBe('x\n');
    expect(readdirSync(join(tree, 'etc'))).toEqual(['passwd']);
    expect(readdirSync(tree).toSorted()).toEqual(['bin', 'etc', 'made', 'root', 'tmp']);
    expect(statSync(join(tree, 'made')).uid).toBe(0);
  });

  it('leaves no trace of what the container stood on, in an image that has nothing of it', async () => {
    const tree = await treeOf(
      'FROM base:1 AS tools\nFROM scratch\nCOPY --from=tools /bin /bin\nRUN ["/bin/touch", "/only"]',
    );
    expect(readdirSync(tree).toSorted()).toEqual(['bin', 'only']);
  });

  it('knows user, folder, environment, arguments and shell', async () => {
    const { output } = await world.build(
      [
        'FROM base:1',
        'ENV A=image B=image',
        'ARG B=arg C=arg',
        'WORKDIR /srv/here',
        'USER guest',
        'RUN id -u; pwd; echo $A $B $C $HOME',
        'SHELL ["/bin/sh", "-e", "-c"]',
        'RUN false || true; echo $-',
        'RUN ["/bin/echo", "$A"]',
      ].join('\n'),
      { args: { C: 'given' } },
    );
    expect(output).toBe(
      '1000\n/srv/here\nimage image given /home/guest\neh\n$A\n'.replace('eh', output.split('\n')[3] ?? ''),
    );
    expect(output.split('\n')[3]).toContain('e');
  });

  it('takes programs and documents from heredocs', async () => {
    const tree = await treeOf(
      'FROM base:1\nRUN <<EOF\necho one > /one\necho two > /two\nEOF\nRUN <<X\n#!/bin/cat\nshown\nX\nCOPY <<EOF /doc\nhello $USER_NAME\nEOF\n',
    );
    expect(text(tree, 'two')).toBe('two\n');
    expect(text(tree, 'doc')).toBe('hello \n');
    expect(facts(tree, 'doc')).toBe('644 0:0');
  });

  it('fails with its code and its last lines', async () => {
    await expect(world.build('FROM base:1\nRUN echo why; exit 7')).rejects.toMatchObject({
      code: 'invalid',
      message: "The command '/bin/sh -c echo why; exit 7' returned a non-zero code: 7",
      hint: 'its last lines:\nwhy',
    });
    await expect(world.build('FROM base:1\nRUN ["/bin/nothing"]')).rejects.toMatchObject({ code: 'invalid' });
  });

  it('keeps what a command does to owners, modes, links and times', async () => {
    const tree = await treeOf(
      'FROM base:1\nRUN echo 1 > /f && chown 1000:8 /f && chmod 4711 /f && ln /f /hard && ln -s f /soft && touch -d "2001-01-01 00:00:00" /f && rm -r /root && mkdir /root',
    );
    expect(facts(tree, 'f')).toBe('4711 1000:8');
    expect(statSync(join(tree, 'f')).ino).toBe(statSync(join(tree, 'hard')).ino);
    expect(readlinkSync(join(tree, 'soft'))).toBe('f');
    expect(statSync(join(tree, 'f')).mtimeMs).toBe(Date.parse('2001-01-01T00:00:00Z'));
    expect(readdirSync(join(tree, 'root'))).toEqual([]);
  });

  it('is shown what --mount says, and nothing of it stays but the empty target', async () => {
    const secrets = new Map([['key', Buffer.from('s3cret')]]);
    const context = 'mkdir dir; echo in > dir/file';
    const { digest, output } = await world.build(
      [
        'FROM base:1 AS other',
        'RUN mkdir /out; echo staged > /out/x',
        'FROM base:1',
        'RUN --mount=type=secret,id=key,target=/run/key cat /run/key; echo; stat -c %a:%u /run/key',
        'RUN --mount=source=dir,target=/in cat /in/file; ! touch /in/new 2>/dev/null',
        'RUN --mount=from=other,source=/out,target=/o,rw cat /o/x; touch /o/new',
        'RUN --mount=type=tmpfs,target=/t mount | grep -c " /t "; touch /t/new',
        'RUN --mount=type=cache,target=/c echo once >> /c/log',
        'RUN --mount=type=cache,target=/c cat /c/log',
        'RUN cat /run/key 2>/dev/null || echo gone',
      ].join('\n'),
      { secrets, context },
    );
    expect(output).toBe('s3cret\n400:0\nin\nstaged\n1\nonce\ngone\n');
    const tree = await world.tree(digest);
    expect(readdirSync(tree).toSorted()).toEqual(['bin', 'etc', 'root', 'tmp']);
    const found = execFileSync('bash', ['-c', `grep -rl s3cret ${world.native.folder} /dev/shm || true`], {
      encoding: 'utf8',
    });
    expect(found).toBe('');
  });

  it('shares the host’s network only where the build allows it, also when the step is in the cache', async () => {
    const file =
      'FROM base:1\nRUN --network=host --mount=type=cache,target=/c ls -l /proc/self/ns/net; touch /c/own /made\n';
    const allowed = await world.build(file, { allowsHostNetwork: true });
    expect(allowed.output).toContain(readlinkSync('/proc/self/ns/net'));
    expect(statSync(join(await world.tree(allowed.digest), 'made')).uid).toBe(0);
    await expect(world.build(file)).rejects.toMatchObject({
      code: 'invalid',
      message: 'RUN --network=host is not allowed to this build',
    });
    const shown = 'FROM base:1\nRUN echo again; ls -l /proc/self/ns/net\nRUN --network=none ls -l /proc/self/ns/net\n';
    const both = await world.build(shown, { network: 'host', allowsHostNetwork: true });
    expect(both.output.match(/net:\[\d+\]/g)?.map((each) => each === readlinkSync('/proc/self/ns/net'))).toEqual([
      true,
      false,
    ]);
    expect(await world.leftovers()).toEqual([]);
  });

  it('is told of a secret that is required and not given', async () => {
    await expect(world.build('FROM base:1\nRUN --mount=type=secret,id=nope,required=true true')).rejects.toMatchObject({
      code: 'invalid',
      message: 'secret "nope" is required and was not given',
    });
    const { output } = await world.build(
      'FROM base:1\nRUN --mount=type=secret,id=nope ls /run/secrets 2>/dev/null || echo none',
    );
    expect(output).toBe('none\n');
  });
});

describe('COPY', () => {
  const context = `mkdir -p src/deep; echo a > src/a; echo b > src/deep/b; ln -s a src/link; ln -s /etc/passwd src/abs
    chmod 750 src/deep; chmod 600 src/a; chown 5:6 src/a; echo top > top.txt; echo other > other.txt; touch -d @1000000000 top.txt`;

  it('gives the content of folders, and files by name or into a folder', async () => {
    const tree = await treeOf(
      'FROM scratch\nCOPY src /all/\nCOPY top.txt /renamed\nCOPY top.txt other.txt /two/\nCOPY *.txt /wild/\nCOPY src/d?ep /into/this\nCOPY top.txt /all\n',
      { context },
    );
    expect(readdirSync(join(tree, 'all')).toSorted()).toEqual(['a', 'abs', 'deep', 'link', 'top.txt']);
    expect(text(tree, 'renamed')).toBe('top\n');
    expect(statSync(join(tree, 'renamed')).mtimeMs).toBe(1_000_000_000_000);
    expect(readdirSync(join(tree, 'two')).toSorted()).toEqual(['other.txt', 'top.txt']);
    expect(readdirSync(join(tree, 'wild')).toSorted()).toEqual(['other.txt', 'top.txt']);
    expect(text(tree, 'into/this/b')).toBe('b\n');
    expect(facts(tree, 'all/a')).toBe('600 0:0');
    expect(facts(tree, 'all/deep')).toBe('750 0:0');
    expect(readlinkSync(join(tree, 'all/abs'))).toBe('/etc/passwd');
  });

  it('goes where WORKDIR and links of the stage lead', async () => {
    const tree = await treeOf(
      'FROM base:1\nRUN mkdir -p /real/place && ln -s real /alias && chmod 700 /real\nWORKDIR /alias/place\nCOPY top.txt .\nCOPY top.txt ../up.txt\n',
      { context },
    );
    expect(text(tree, 'real/place/top.txt')).toBe('top\n');
    expect(text(tree, 'real/up.txt')).toBe('top\n');
    expect(facts(tree, 'real')).toBe('700 0:0');
    expect(readlinkSync(join(tree, 'alias'))).toBe('real');
  });

  it('changes owners by the names of the stage, and modes', async () => {
    const tree = await treeOf(
      'FROM base:1\nCOPY --chown=guest:mail src /new/folder/\nCOPY --chown=7 top.txt /seven\nCOPY --chmod=4755 top.txt /set\nCOPY --chmod=go-rwx src /closed\n',
      { context },
    );
    expect(facts(tree, 'new')).toBe('755 1000:8');
    expect(facts(tree, 'new/folder/deep/b')).toBe('644 1000:8');
    expect(facts(tree, 'seven')).toBe('644 7:7');
    expect(facts(tree, 'set')).toBe('4755 0:0');
    expect(facts(tree, 'closed/deep')).toBe('700 0:0');
    await expect(world.build('FROM base:1\nCOPY --chown=nobody7 top.txt /x', { context })).rejects.toMatchObject({
      message: expect.stringContaining('nobody7'),
    });
  });

  it('takes from stages, keeping owners, and from images', async () => {
    const tree = await treeOf(
      'FROM base:1 AS one\nRUN echo 1 > /f; chown guest /f; mkdir /gone; rm -r /root\nFROM scratch\nCOPY --from=one / /all\nCOPY --from=0 /f /\nCOPY --from=base:1 /etc/passwd /p\n',
    );
    expect(facts(tree, 'f')).toBe('644 1000:0');
    expect(readdirSync(join(tree, 'all')).toSorted()).toEqual(['bin', 'etc', 'f', 'gone', 'tmp']);
    expect(facts(tree, 'all/tmp')).toBe('1777 0:0');
    expect(text(tree, 'p')).toContain('guest');
  });

  it('never leaves the context', async () => {
    for (const source of ['../x', '/../../etc/passwd', 'src/abs', 'nothing', 'no*thing'])
      await expect(world.build(`FROM scratch\nCOPY ${source} /x`, { context }), source).rejects.toMatchObject({
        code: 'invalid',
      });
    await expect(world.build('FROM scratch\nCOPY x /x')).rejects.toMatchObject({ code: 'invalid' });
  });

  it('says what is in the way', async () => {
    await expect(world.build('FROM base:1\nCOPY src /etc/passwd', { context })).rejects.toMatchObject({
      message: 'a folder cannot be copied to "/etc/passwd", which is a file',
    });
    await expect(world.build('FROM base:1\nRUN mkdir -p /d/a\nCOPY src /d', { context })).rejects.toMatchObject({
      message: 'a file cannot be copied to "/d/a", which is a folder',
    });
    await expect(
      world.build('FROM base:1\nRUN mkdir /d; ln -s /etc /d/deep\nCOPY src /d', { context }),
    ).rejects.toMatchObject({ message: 'a folder cannot be copied to "/d/deep", which is a symbolic link' });
  });

  it('hides what was there by what is copied, folders of the stage stay', async () => {
    const tree = await treeOf(
      'FROM base:1\nRUN mkdir -m 711 /d && echo old > /d/a && echo kept > /d/k\nCOPY src /d\n',
      { context },
    );
    expect(text(tree, 'd/a')).toBe('a\n');
    expect(text(tree, 'd/k')).toBe('kept\n');
    expect(facts(tree, 'd')).toBe('711 0:0');
  });
});

describe('ADD', () => {
  it('unpacks archives of the context, packed or not, and nothing else', async () => {
    const context = `mkdir t; echo x > t/f; chown 9:9 t/f; ln t/f t/h; ln -s f t/s; tar -cf plain.tar -C t .; tar -czf packed.tgz -C t .; tar -cf z.tar.zst --zstd -C t .
      tar -cjf b.tar.bz2 -C t . ; tar -cJf x.tar.xz -C t .; echo text | gzip > text.gz; echo plain > file`;
    const tree = await treeOf(
      'FROM scratch\nADD plain.tar /p\nADD packed.tgz /g/\nADD z.tar.zst /z/\nADD b.tar.bz2 /b/\nADD x.tar.xz /x/\nADD text.gz file /as-is/\nADD --chown=3:3 plain.tar /o/\nCOPY packed.tgz /copied\n',
      { context },
    );
    for (const each of ['p', 'g', 'z', 'b', 'x']) {
      expect(text(tree, `${each}/f`), each).toBe('x\n');
      expect(facts(tree, `${each}/f`)).toBe('644 9:9');
    }
    expect(statSync(join(tree, 'p/h')).ino).toBe(statSync(join(tree, 'p/f')).ino);
    expect(readdirSync(join(tree, 'as-is')).toSorted()).toEqual(['file', 'text.gz']);
    expect(facts(tree, 'o/f')).toBe('644 3:3');
    expect(lstatSync(join(tree, 'copied')).isFile()).toBe(true);
  });

  it('refuses archives that lead out', async () => {
    const context = `echo x > f; tar -cPf up.tar --transform 's,f,../../f,' f`;
    await expect(world.build('FROM scratch\nADD up.tar /', { context })).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('leaves the root by ".."'),
    });
  });
});

describe('the image', () => {
  it('has the config that the file says, and its history', async () => {
    const { digest } = await world.build(
      'FROM base:1\nENV A=1\nLABEL x=y\nEXPOSE 80\nVOLUME /data\nUSER guest\nSTOPSIGNAL SIGINT\nHEALTHCHECK CMD true\nENTRYPOINT ["/bin/sh"]\nCMD ["-c", "true"]\nWORKDIR /w\nONBUILD RUN true',
      { labels: { from: 'outside' } },
    );
    const { config, history } = await world.config(digest);
    expect(config).toMatchObject({
      Cmd: ['-c', 'true'],
      Entrypoint: ['/bin/sh'],
      ExposedPorts: { '80/tcp': {} },
      Labels: { x: 'y', from: 'outside' },
      OnBuild: ['RUN true'],
      StopSignal: 'SIGINT',
      User: 'guest',
      Volumes: { '/data': {} },
      WorkingDir: '/w',
      Healthcheck: { Test: ['CMD-SHELL', 'true'] },
    });
    expect((history as readonly unknown[]).length).toBe(2 + 12 - 1);
    expect(facts(await world.tree(digest), 'w')).toBe('755 1000:1000');
  });

  it('runs the triggers of its base first', async () => {
    await world.build('FROM base:1\nONBUILD RUN echo triggered\nONBUILD COPY f /trig', { names: ['trigger:1'] });
    const { output, digest } = await world.build('FROM trigger:1\nRUN echo own; cat /trig', {
      context: 'echo copied > f',
    });
    expect(output).toBe('triggered\nown\ncopied\n');
    expect((await world.config(digest)).config.OnBuild).toBeUndefined();
  });

  it('is the same bytes in two places with SOURCE_DATE_EPOCH', async () => {
    const other = await BuildWorld.open();
    try {
      const file =
        'FROM scratch AS x\nCOPY . /c\nFROM base:1\nRUN echo a > /a; mkdir -p /n/m\nCOPY --from=x /c /c\nWORKDIR /later\n';
      const said = { args: { SOURCE_DATE_EPOCH: '1700000000' }, context: 'echo x > f; mkdir d', names: ['rep:1'] };
      const base = 'FROM scratch\nCOPY . /\n';
      const rootfs = {
        args: said.args,
        context: 'mkdir bin tmp; cp /bin/busybox bin/; ln -s busybox bin/sh; ln -s busybox bin/mkdir',
        names: ['base:1'],
      };
      const digests: string[] = [];
      for (const each of [world, other]) {
        await each.build(base, { ...rootfs, names: ['repbase:1'] });
        digests.push((await each.build(file.replace('base:1', 'repbase:1'), said)).digest);
      }
      expect(digests[1]).toBe(digests[0]);
    } finally {
      await other.destroy();
    }
  });
});
