import { describe, expect, it } from 'vitest';
import { runEnv } from '../../../../agent/build/dockerfile/state.ts';
import { build, dollars, env, scratch, stepFlaw } from '../../../support/dockerfile.ts';

describe('variables', () => {
  it('on one line see the values from before it', () => {
    // Source: Dockerfile reference, "Environment replacement", the last example.
    expect(env('ENV abc=hello', 'ENV abc=bye def=$abc', 'ENV ghi=$abc')).toEqual(['abc=bye', 'def=hello', 'ghi=bye']);
  });

  it('are replaced where the reference says', () => {
    const { steps } = scratch(
      'ENV d=/x u=me p=80 s=INT',
      'WORKDIR $d/y',
      'USER $u',
      'EXPOSE $p 90/udp',
      'VOLUME $d ["$d"]',
      'STOPSIGNAL $s',
      'LABEL $u=$p "a b"="$d"',
      'COPY --chown=$u:$u $d/a $d/b/',
      'ADD $d https://h/$u $d/',
      'RUN --mount=type=cache,target=$d,id=$u $d',
    );
    expect(steps.slice(1)).toMatchObject([
      { path: '/x/y' },
      { user: 'me' },
      { ports: ['80/tcp', '90/udp'] },
      { paths: ['/x', '[/x]'] },
      { signal: 'INT' },
      {
        pairs: [
          { name: 'me', value: '80' },
          { name: 'a b', value: '/x' },
        ],
      },
      { chown: 'me:me', sources: ['/x/a'], dest: '/x/b/' },
      { sources: ['/x'], urls: ['https://h/me'], dest: '/x/' },
      { mounts: [{ type: 'cache', target: '/x', id: 'me' }], command: { form: 'shell', line: '$d' } },
    ]);
  });

  it('are left alone in commands', () => {
    const { steps } = scratch(
      'ENV x=1',
      'RUN echo $x',
      'CMD echo $x',
      'ENTRYPOINT ["$x"]',
      'HEALTHCHECK CMD $x',
      'SHELL ["$x"]',
      'ONBUILD RUN $x',
      'MAINTAINER $x',
    );
    expect(JSON.stringify(steps.slice(1)).match(/\$x/g)).toHaveLength(7);
  });

  it('are replaced in the documents of COPY unless their name is quoted', () => {
    expect(scratch('ENV x=1', 'COPY <<a <<"b" /', '$x "$x"', 'a', '$x', 'b').steps[1]).toMatchObject({
      documents: [
        { name: 'a', content: '1 "1"\n' },
        { name: 'b', content: '$x\n' },
      ],
    });
  });

  it.each([
    ['EXPOSE 99999', 'EXPOSE 99999: it is no range of ports'],
    ['EXPOSE $none 80/sctp', '"sctp" is neither tcp nor udp'],
    ['EXPOSE 8080:80', 'a port of the host is chosen at run'],
    ['EXPOSE 90-80', 'it is no range of ports'],
    ['STOPSIGNAL FOO', '"FOO" is no signal'],
    ['STOPSIGNAL $none', 'STOPSIGNAL is empty'],
    ['USER $none', 'USER specified can not be an empty string'],
    ['VOLUME [""]', 'VOLUME specified can not be an empty string'],
    ['ENV $none=1', 'ENV name specified can not be an empty string'],
    ['COPY $none /x', 'the source $none comes to nothing'],
    ['COPY a $none', 'COPY specified can not be an empty string'],
    ['COPY --chmod=999 a b', "invalid chmod parameter: '999'"],
    ['COPY --chmod=u+q a b', "invalid chmod parameter: 'u+q'"],
    ['ADD git@h:a/b.git /x', 'ADD of a git repository is not supported'],
    ['ADD https://h/a.git#main /x', 'ADD of a git repository is not supported'],
    ['ADD --checksum=md5:1 https://h/a /x', '"md5:1" is no digest'],
    [`ADD --checksum=sha256:${'0'.repeat(64)} a /x`, "checksum can't be specified for multiple or local sources"],
    ['RUN --mount=type=$none,target=/x a', 'unsupported mount type ""'],
    ['ENV x="@{none:?give it}"', 'none: give it'],
  ])('make %j fail', (line, why) => expect(stepFlaw('', dollars(line))).toContain(why));
});

describe('ARG', () => {
  it('has its default, or the build argument', () => {
    const lines = ['FROM scratch', 'ARG a=1', 'ENV x=$a'];
    expect(build(lines).state.config.env).toContain('x=1');
    expect(build(lines, { a: '2' }).state.config.env).toContain('x=2');
  });

  it('counts from its line on', () => {
    expect(
      build(['FROM scratch', dollars('USER @{a:-some_user}'), 'ARG a', 'USER $a'], { a: 'what_user' }).steps,
    ).toMatchObject([{ user: 'some_user' }, {}, { user: 'what_user' }]);
  });

  it('loses against ENV', () => {
    // Source: Dockerfile reference, "Using ARG variables".
    const built = build(['FROM scratch', 'ARG v', 'ENV v=v1.0.0', 'RUN echo $v'], { v: 'v2.0.1' });
    expect(built.steps[2]).toMatchObject({ args: ['v=v1.0.0'] });
    expect(runEnv(built.state.config, ['v=v2.0.1'])).toContain('v=v1.0.0');
  });

  it('may be the default of an ENV', () => {
    expect(build(['FROM scratch', 'ARG v', dollars('ENV v=@{v:-v1}')]).state.config.env).toContain('v=v1');
  });

  it('before FROM is unknown inside unless it is declared again', () => {
    const lines = ['ARG v=1', 'FROM scratch', 'ENV a=$v', 'ARG v', 'ENV b=$v'];
    expect(build(lines).state.config.env.slice(1)).toEqual(['a=', 'b=1']);
  });

  it('declared with a default inside forgets the one before FROM', () => {
    expect(build(['ARG v=1', 'FROM scratch', 'ARG v=2', 'ENV b=$v']).state.config.env).toContain('b=2');
  });

  it('does not reach the next stage', () => {
    expect(build(['FROM scratch', 'ARG v=1', 'FROM scratch', 'ENV a=$v']).state.config.env).toContain('a=');
  });

  it('reaches a stage that is built on its own', () => {
    expect(build(['FROM scratch AS x', 'ARG v=1', 'FROM x', 'ENV a=$v']).state.config.env).toContain('a=1');
  });

  it('declared again without a default keeps its value', () => {
    expect(build(['FROM scratch', 'ARG v=1', 'ARG v', 'ENV a=$v']).state.config.env).toContain('a=1');
  });

  it('sees the ARGs of the lines before', () => {
    expect(build(['FROM scratch', 'ARG a=1', 'ARG b=$a-2', 'ENV c=$b']).state.config.env).toContain('c=1-2');
  });

  it.each([
    ['TARGETPLATFORM', 'linux/amd64'],
    ['TARGETOS', 'linux'],
    ['BUILDARCH', 'amd64'],
    ['TARGETVARIANT', ''],
  ])('knows %s when it is declared', (name, value) => {
    expect(
      build(['FROM scratch', `ENV a=$${name}`, `ARG ${name}`, `ENV b=$${name}`]).state.config.env.slice(1),
    ).toEqual(['a=', `b=${value}`]);
  });

  it('is part of a RUN, proxies that nobody declared are apart', () => {
    const built = build(['FROM scratch', 'ARG a=1 b', 'ARG https_proxy', 'RUN x'], {
      http_proxy: 'p',
      https_proxy: 'q',
      HTTP_PROXY: 'r',
    });
    expect(built.steps.at(-1)).toMatchObject({
      args: ['a=1', 'https_proxy=q'],
      proxies: ['HTTP_PROXY=r', 'http_proxy=p'],
    });
    expect(built.state.history.at(-1)?.createdBy).toBe('RUN |2 a=1 https_proxy=q /bin/sh -c x');
  });
});
