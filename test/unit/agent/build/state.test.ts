import { describe, expect, it } from 'vitest';
import { parseTriggers } from '../../../../agent/build/dockerfile/parse.ts';
import {
  argvOf,
  beginStage,
  clampedTo,
  hasLayer,
  runEnv,
  workdirAfter,
} from '../../../../agent/build/dockerfile/state.ts';
import { imageFileText, readBase } from '../../../../agent/build/image-file.ts';
import { toClusterError } from '../../../../common/errors.ts';
import { build, config, env, scratch } from '../../../support/dockerfile.ts';

describe('config', () => {
  it('of scratch is a PATH and the folder /', () => {
    expect(config('ENV A=1')).toMatchObject({
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'A=1'],
      workdir: '/',
      cmd: [],
      entrypoint: [],
    });
  });

  it('has each variable once, at its first place', () => {
    expect(env('ENV A=1 B=2', 'ENV A=3')).toEqual(['A=3', 'B=2']);
  });

  it.each([
    [['WORKDIR /a', 'WORKDIR b', 'WORKDIR c'], '/a/b/c'],
    [['WORKDIR a'], '/a'],
    [['WORKDIR /a/', 'WORKDIR ../b/.'], '/b'],
    [['WORKDIR /a', 'WORKDIR /b'], '/b'],
    [['WORKDIR /a', 'WORKDIR $none'], '/a'],
  ])('goes to the folder of %j', (lines, workdir) => expect(config(...lines).workdir).toBe(workdir));

  it.each([
    [['CMD a b'], ['/bin/sh', '-c', 'a b'], []],
    [['CMD ["a", "b"]'], ['a', 'b'], []],
    [['CMD a', 'CMD b'], ['/bin/sh', '-c', 'b'], []],
    [['SHELL ["/bin/bash", "-ec"]', 'CMD a'], ['/bin/bash', '-ec', 'a'], []],
    [['CMD ["a"]', 'ENTRYPOINT ["b"]'], ['a'], ['b']],
    [['ENTRYPOINT b', 'CMD ["a"]'], ['a'], ['/bin/sh', '-c', 'b']],
    [['ENTRYPOINT ["b"]', 'ENTRYPOINT []'], [], []],
  ])('runs %j', (lines, cmd, entrypoint) => expect(config(...lines)).toMatchObject({ cmd, entrypoint }));

  it('forgets the CMD of the base image when ENTRYPOINT is set', () => {
    const base = '{"config":{"Cmd":["a"],"Entrypoint":["b"]}}';
    expect(build(['FROM x', 'USER y'], {}, base).state.config).toMatchObject({ cmd: ['a'], entrypoint: ['b'] });
    expect(build(['FROM x', 'ENTRYPOINT ["c"]'], {}, base).state.config).toMatchObject({ cmd: [], entrypoint: ['c'] });
    expect(build(['FROM x', 'CMD ["d"]', 'ENTRYPOINT ["c"]'], {}, base).state.config).toMatchObject({
      cmd: ['d'],
      entrypoint: ['c'],
    });
    expect(build(['FROM x AS y', 'CMD ["d"]', 'FROM y', 'ENTRYPOINT ["c"]'], {}, base).state.config.cmd).toEqual([]);
  });

  it('collects labels, ports, volumes and triggers', () => {
    expect(
      config(
        'LABEL a=1 b=2',
        'LABEL a=3',
        'EXPOSE 80 53/udp',
        'EXPOSE 8000-8002 80/TCP',
        'VOLUME /b',
        'VOLUME ["/a", "/b"]',
        'ONBUILD RUN x',
        'ONBUILD USER y',
      ),
    ).toMatchObject({
      labels: { a: '3', b: '2' },
      exposedPorts: ['53/udp', '80/tcp', '8000/tcp', '8001/tcp', '8002/tcp'],
      volumes: ['/a', '/b'],
      onBuild: ['RUN x', 'USER y'],
    });
  });

  it.each([
    [['HEALTHCHECK NONE'], { test: ['NONE'] }],
    [['HEALTHCHECK CMD a b'], { test: ['CMD-SHELL', 'a b'] }],
    [
      ['HEALTHCHECK --interval=5s --retries=2 CMD ["a", "b"]'],
      { test: ['CMD', 'a', 'b'], intervalMs: 5_000, retries: 2 },
    ],
    [['HEALTHCHECK CMD a', 'HEALTHCHECK NONE'], { test: ['NONE'] }],
  ])('has the health check of %j', (lines, health) => expect(config(...lines).health).toEqual(health));

  it('has no triggers of the base image', () => {
    expect(beginStage(readBase('{"config":{"OnBuild":["RUN x"]}}', 'base')).config.onBuild).toEqual([]);
  });

  it('always has a PATH for a RUN', () => {
    expect(runEnv(build(['FROM x', 'ENV A=1']).state.config, [])).toEqual([
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'A=1',
    ]);
  });

  it('runs the shell of the stage', () => {
    expect(argvOf({ form: 'shell', line: 'a' }, config('SHELL ["b"]'))).toEqual(['b', 'a']);
    expect(workdirAfter(config('WORKDIR /a'), 'b')).toBe('/a/b');
  });
});

describe('history', () => {
  it('says what was done, and where a layer came of it', () => {
    const { state } = scratch(
      'MAINTAINER me',
      'ARG a=1 b',
      'ENV A=1 B="2 3"',
      'LABEL c=d',
      'WORKDIR x',
      'COPY --chown=1:2 --chmod=0644 --link a b c/',
      'ADD https://h/x <<doc /y/',
      '1',
      'doc',
      'RUN ["a", "b"]',
      'USER u',
      'EXPOSE 80 90',
      'VOLUME /v /w',
      'STOPSIGNAL INT',
      'SHELL ["/bin/bash", "-c"]',
      'CMD a',
      'ENTRYPOINT ["b"]',
      'HEALTHCHECK CMD c',
      'ONBUILD RUN d',
    );
    expect(state.history.map((entry) => `${entry.emptyLayer ? '-' : '+'} ${entry.createdBy}`)).toEqual([
      '- MAINTAINER me',
      '- ARG a=1 b',
      '- ENV A=1 B=2 3',
      '- LABEL c=d',
      '+ WORKDIR /x',
      '+ COPY --chown=1:2 --chmod=0644 --link a b c/',
      '+ ADD https://h/x <<doc /y/',
      '+ RUN |1 a=1 a b',
      '- USER u',
      '- EXPOSE [80/tcp 90/tcp]',
      '- VOLUME [/v /w]',
      '- STOPSIGNAL INT',
      '- SHELL [/bin/bash -c]',
      '- CMD ["/bin/bash" "-c" "a"]',
      '- ENTRYPOINT ["b"]',
      '- HEALTHCHECK ["CMD-SHELL" "c"]',
      '- ONBUILD RUN d',
    ]);
    expect(state.author).toBe('me');
    expect(hasLayer({ kind: 'user', user: 'u', span: { line: 1, endLine: 1 }, title: '' })).toBe(false);
  });

  it.each([
    [5_000, undefined, 5_000],
    [5_000, 3_000, 3_000],
    [2_000, 3_000, 2_000],
  ])('clamps %i to %s', (at, epoch, expected) => expect(clampedTo(at, epoch)).toBe(expected));
});

describe('mounts', () => {
  const mount = (options: string, ...before: readonly string[]) =>
    (scratch(...before, `RUN --mount=${options} x`).steps.at(-1) as { mounts: readonly unknown[] }).mounts[0];
  it.each([
    ['target=/a', { type: 'bind', target: '/a', from: { kind: 'context' }, source: '', readOnly: true }],
    [
      'type=bind,src=b,dst=/a,rw',
      { type: 'bind', target: '/a', from: { kind: 'context' }, source: 'b', readOnly: false },
    ],
    [
      'from=img:1,target=a',
      { type: 'bind', target: '/w/a', from: { kind: 'image', image: 'img:1' }, source: '', readOnly: true },
    ],
    [
      'from=scratch,target=/a,readonly=false',
      { type: 'bind', target: '/a', from: { kind: 'scratch' }, source: '', readOnly: false },
    ],
    [
      'type=cache,target=/a/',
      {
        type: 'cache',
        target: '/a',
        id: '/a',
        sharing: 'shared',
        source: '',
        readOnly: false,
        mode: 0o755,
        uid: 0,
        gid: 0,
      },
    ],
    [
      'type=cache,target=/a,id=b,sharing=locked,mode=0700,uid=1,gid=2,ro',
      {
        type: 'cache',
        target: '/a',
        id: 'b',
        sharing: 'locked',
        source: '',
        readOnly: true,
        mode: 0o700,
        uid: 1,
        gid: 2,
      },
    ],
    ['type=tmpfs,target=/a,size=64m', { type: 'tmpfs', target: '/a', sizeBytes: 64 * 2 ** 20 }],
    ['type=tmpfs,target=/a', { type: 'tmpfs', target: '/a', sizeBytes: 0 }],
    [
      'type=secret,id=a',
      { type: 'secret', id: 'a', target: '/run/secrets/a', required: false, mode: 0o400, uid: 0, gid: 0 },
    ],
    [
      'type=secret,target=/b/c,required,mode=0444',
      { type: 'secret', id: 'c', target: '/b/c', required: true, mode: 0o444, uid: 0, gid: 0 },
    ],
    [
      'type=secret,id=a,env=TOKEN',
      { type: 'secret', id: 'a', env: 'TOKEN', required: false, mode: 0o400, uid: 0, gid: 0 },
    ],
    [
      'type=secret,id=a,env=T,target=/x',
      { type: 'secret', id: 'a', env: 'T', target: '/x', required: false, mode: 0o400, uid: 0, gid: 0 },
    ],
    [
      '"type=cache","target=/a,b"',
      {
        type: 'cache',
        target: '/a,b',
        id: '/a,b',
        sharing: 'shared',
        source: '',
        readOnly: false,
        mode: 0o755,
        uid: 0,
        gid: 0,
      },
    ],
  ])('reads %j', (options, expected) => expect(mount(options.replaceAll('"', '\\"'), 'WORKDIR /w')).toEqual(expected));
});

describe('triggers', () => {
  it('of a base image are steps', () => {
    expect(parseTriggers(['RUN a', 'COPY . /x'], 'base:1').map((step) => step.kind)).toEqual(['run', 'copy']);
    expect(parseTriggers(['RUN <<EOF\na\nEOF'], 'base:1')[0]).toMatchObject({ command: { line: 'a\n' } });
  });

  it.each([
    ['FROM a', "FROM isn't allowed as an ONBUILD trigger"],
    ['ONBUILD RUN a', "ONBUILD isn't allowed as an ONBUILD trigger"],
    ['XX', 'unknown instruction: XX'],
  ])('refuse %j', (trigger, why) => {
    expect(() => parseTriggers([trigger], 'base:1')).toThrow(why);
    try {
      parseTriggers([trigger], 'base:1');
    } catch (cause) {
      expect(toClusterError(cause).field).toBe('ONBUILD 1 of image "base:1":1');
    }
  });
});

describe('the config file', () => {
  const built = build(
    [
      'FROM x',
      'ENV A=1',
      'LABEL z=1 a=2',
      'EXPOSE 80',
      'VOLUME /v',
      'HEALTHCHECK --interval=5s CMD a',
      'STOPSIGNAL INT',
      'SHELL ["s"]',
      'ONBUILD RUN x',
      'USER u',
      'WORKDIR /w',
      'CMD b',
      'ENTRYPOINT ["c"]',
    ],
    {},
    '{"author":"somebody","config":{"Env":["P=1"],"Labels":null},"history":[{"created":"2020-01-02T03:04:05.678901234Z","created_by":"x","empty_layer":true}]}',
  ).state;
  const file = { ...built, os: 'linux', arch: 'amd64', at: 1_000, diffIds: [] };

  it('is read again as it was written', () => {
    const { config: written, history, author } = file;
    expect(readBase(imageFileText(file), 'x')).toEqual({ config: written, history, author });
  });

  it('is the same text for the same image', () => {
    expect(imageFileText(file)).toBe(
      imageFileText({ ...file, config: { ...file.config, labels: { a: '2', z: '1' } } }),
    );
    expect(imageFileText(file)).toContain(
      '"created":"1970-01-01T00:00:01Z","author":"somebody","architecture":"amd64","os":"linux"',
    );
  });

  it.each([
    ['{"config":{"Env":"A=1"}}', 'config.Env is not a list'],
    ['{"history":[{"empty_layer":1}]}', 'empty_layer is neither true nor false'],
    ['[', 'is not JSON'],
  ])('that is malformed is refused: %s', (text, why) => expect(() => readBase(text, 'base')).toThrow(why));
});
