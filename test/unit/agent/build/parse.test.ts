import { describe, expect, it } from 'vitest';
import { flawOf, parse, shell, steps, wrong } from '../../../support/dockerfile.ts';

describe('FROM', () => {
  it.each([
    ['FROM a', { base: 'a' }],
    ['FROM a:1 AS Build', { base: 'a:1', name: 'build' }],
    ['FROM a as b-1_2.3', { base: 'a', name: 'b-1_2.3' }],
    ['from --platform=$BUILDPLATFORM a@sha256:1 As b', { base: 'a@sha256:1', platform: '$BUILDPLATFORM', name: 'b' }],
  ])('reads %j', (text, stage) => expect(parse(text).stages[0]).toMatchObject(stage));

  it('lets ARG come before it, and nothing else', () => {
    expect(parse('ARG a=1 b\nARG c\nFROM a').globals).toMatchObject([
      { args: [{ name: 'a', value: '1' }, { name: 'b' }] },
      { args: [{ name: 'c' }] },
    ]);
    expect(flawOf('ARG a', 'RUN b')).toContain(
      'Dockerfile:2: dockerfile parse error on line 2: no build stage in current context',
    );
    expect(flawOf('ARG a')).toContain('Dockerfile has no FROM');
  });

  it.each([
    ['FROM', 'FROM requires'],
    ['FROM a b', 'FROM requires either one or three arguments'],
    ['FROM a of b', 'FROM requires either one or three arguments'],
    ['FROM a AS', 'FROM requires either one or three arguments'],
    ['FROM a AS b c', 'FROM requires either one or three arguments'],
    ['FROM a AS 1b', 'invalid name for build stage: "1b"'],
    ['FROM a AS b/c', 'invalid name for build stage: "b/c"'],
    ['FROM --arch=x a', 'unknown flag: --arch'],
    ['FROM a AS x\nFROM b AS X', 'line 2: duplicate name "x" for a build stage'],
  ])('refuses %j', (text, why) => expect(flawOf(text)).toContain(why));

  it('warns of names that mean something else', () => {
    expect(parse('FROM a AS context').warnings[0]).toContain('a stage should not be called context');
  });
});

describe('unknown things', () => {
  it('says which line, what it is, and what was meant', () => {
    expect(wrong('', 'RNU make')).toBe(
      'Dockerfile:3: dockerfile parse error on line 3: unknown instruction: RNU (did you mean RUN?): "RNU make" (instructions are ' +
        'ADD, ARG, CMD, COPY, ENTRYPOINT, ENV, EXPOSE, FROM, HEALTHCHECK, LABEL, MAINTAINER, ONBUILD, RUN, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR)',
    );
  });

  it.each([
    [['RUN --mnt=type=cache a'], 'unknown flag: --mnt (did you mean mount?)'],
    [['COPY --form=a b c'], 'unknown flag: --form (did you mean from?)'],
    [['XYZZY a'], 'unknown instruction: XYZZY:'],
    [['ENV --x A=b'], 'unknown flag: --x'],
    [['ADD --keep-git-dir=true a b'], '--keep-git-dir of ADD is not supported'],
    [['ADD --from=a b c'], 'unknown flag: --from'],
    [['RUN --security=insecure a'], '--security of RUN is not supported'],
    [['RUN --device=x a'], '--device of RUN is not supported'],
    [['COPY --link=maybe a b'], 'expecting a boolean value for flag --link, not: maybe'],
    [['COPY --from a b'], 'missing a value on flag: --from'],
    [['COPY --chown=a --chown=b c d'], 'duplicate flag specified: --chown'],
    [['__proto__ a'], 'unknown instruction: __PROTO__'],
    [['RUN --__proto__=1 a'], 'unknown flag: --__proto__'],
  ])('refuses %j', (lines, why) => expect(wrong(...lines)).toContain(why));

  it.each(
    'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(
      ' ',
    ),
  )('refuses %s without arguments', (keyword) =>
    expect(wrong(keyword)).toContain(`${keyword} requires at least one argument`),
  );
});

describe('RUN, CMD and ENTRYPOINT', () => {
  it.each([
    ['CMD ["a", "b c"]', { form: 'exec', argv: ['a', 'b c'] }],
    ['CMD []', { form: 'exec', argv: [] }],
    ['CMD [ "a\\u0041\\n\\"" ]', { form: 'exec', argv: ['aA\n"'] }],
    ["CMD ['a', 'b']", shell("['a', 'b']")],
    ['CMD ["a"', shell('["a"')],
    ['CMD [ "$x" = 1 ] && b', shell('[ "$x" = 1 ] && b')],
    ['CMD ["c:\\windows"]', shell('["c:\\windows"]')],
    ['CMD echo  two   spaces', shell('echo  two   spaces')],
  ])('reads %j', (text, command) => expect(steps(text)).toEqual([{ kind: 'cmd', command }]));

  it('refuses a list of other things than strings', () => {
    expect(wrong('CMD ["a", 1]')).toContain('CMD in JSON form takes a list of strings');
  });

  it('warns of what stands behind a list', () => {
    expect(parse('FROM a\nRUN ["b"] && c').warnings[0]).toContain(
      'Dockerfile:2: what follows the JSON list is ignored: "&& c"',
    );
  });

  it('reads flags in front of the command alone', () => {
    expect(steps('RUN --network=host --mount=type=tmpfs,target=/t a --network=none')).toEqual([
      { kind: 'run', command: shell('a --network=none'), mounts: ['type=tmpfs,target=/t'], network: 'host' },
    ]);
    expect(steps('RUN -- --network')).toMatchObject([{ command: shell('--network') }]);
  });

  it.each([
    ['RUN --network=bridge a', 'invalid network mode: "bridge"'],
    ['RUN --mount=type=ssh a', 'mounts of type ssh are not supported'],
    ['RUN --mount=type=cahce,target=/a b', 'unsupported mount type "cahce" (did you mean cache?)'],
    ['RUN --mount=type=cache,tarlet=/a b', "unexpected key 'tarlet' in 'tarlet=/a' (did you mean target?)"],
    ['RUN --mount=type=cache a', 'a mount needs a target'],
    ['RUN --mount=type=cache,target=/ a', 'invalid mount target "/"'],
    ['RUN --mount=type=cache,target a', "invalid field 'target' must be a key=value pair"],
    ['RUN --mount=type=cache,target=/a,sharing=all b', 'unsupported sharing value "all"'],
    ['RUN --mount=type=cache,target=/a,mode=9 b', 'invalid value 9 for mode'],
    ['RUN --mount=type=cache,target=/a,uid=x b', 'invalid value x for uid'],
    ['RUN --mount=type=bind,target=/a,mode=0700 b', "unexpected key 'mode' for mount type 'bind'"],
    ['RUN --mount=type=tmpfs,target=/a,size=lots b', 'invalid value for size'],
    ['RUN --mount=type=secret a', 'invalid secret mount'],
    ['RUN --mount=type=secret,id=a,source=b c', "both source and id can't be set"],
    ['RUN --mount=type=secret,id=a,required=perhaps c', 'invalid value for required: perhaps'],
    ['RUN --mount=type=bind,from=$x,target=/a b', "'from' doesn't support variable expansion"],
    ['RUN --mount=a\\"b c', 'is no list of key=value'],
  ])('refuses %j', (text, why) => expect(wrong(text)).toContain(why));
});

describe('COPY and ADD', () => {
  it.each([
    ['COPY a b', { sources: ['a'], dest: 'b' }],
    ['COPY a b c/', { sources: ['a', 'b'], dest: 'c/' }],
    ['COPY ["a b", "c d"]', { sources: ['a b'], dest: 'c d' }],
    [
      'COPY --from=Build --chown=1:2 --chmod=u+x --link --parents --exclude=*.o --exclude=x a b',
      { from: 'Build', chown: '1:2', chmod: 'u+x', link: true, parents: true, exclude: ['*.o', 'x'] },
    ],
    ['COPY --link=false a b', { link: false }],
  ])('reads %j', (text, step) => expect(steps(text)).toMatchObject([{ kind: 'copy', ...step }]));

  it('reads flags of ADD', () => {
    expect(steps('ADD --checksum=sha256:1 --unpack=true https://a/b c')).toMatchObject([
      { kind: 'add', checksum: 'sha256:1', unpack: true, sources: ['https://a/b'] },
    ]);
  });

  it.each([
    ['COPY a', 'COPY requires at least two arguments, but only 1 provided'],
    ['ADD ["a"]', 'ADD requires at least two arguments'],
    ['COPY --from=$x a b', 'variable expansion is not supported for --from'],
    ['COPY --from= a b', 'COPY --from is blank'],
  ])('refuses %j', (text, why) => expect(wrong(text)).toContain(why));
});

describe('ENV, LABEL and ARG', () => {
  it.each([
    [
      'ENV A=1 B="2 3" C=4\\ 5',
      [
        ['A', '1'],
        ['B', '"2 3"'],
        ['C', '4\\ 5'],
      ],
    ],
    ['ENV A 1 2  3', [['A', '1 2  3']]],
    ['ENV A=', [['A', '']]],
    ['ENV A=b=c', [['A', 'b=c']]],
    [
      "ENV A='b c' B=\"it's\"",
      [
        ['A', "'b c'"],
        ['B', '"it\'s"'],
      ],
    ],
    [
      'ENV A=1 \\\n    B=2',
      [
        ['A', '1'],
        ['B', '2'],
      ],
    ],
    ['ENV A\t1', [['A', '1']]],
  ])('reads %j', (text, pairs) =>
    expect(steps(text)).toEqual([{ kind: 'env', pairs: pairs.map(([name, value]) => ({ name, value })) }]),
  );

  it('reads labels with quoted names', () => {
    expect(steps('LABEL "a.b"="c" d=e')).toEqual([
      {
        kind: 'label',
        pairs: [
          { name: '"a.b"', value: '"c"' },
          { name: 'd', value: 'e' },
        ],
      },
    ]);
  });

  it('reads several arguments of ARG', () => {
    expect(steps('ARG a b=1 c="2 3"')).toEqual([
      { kind: 'arg', args: [{ name: 'a' }, { name: 'b', value: '1' }, { name: 'c', value: '"2 3"' }] },
    ]);
  });

  it.each([
    ['ENV A', 'ENV must have two arguments'],
    ['ENV A=1 B', 'can\'t find = in "B"'],
    ['ENV =1', 'ENV names can not be blank'],
    ['LABEL =1', 'LABEL names can not be blank'],
    ['ARG =1', 'ARG names can not be blank'],
  ])('refuses %j', (text, why) => expect(wrong(text)).toContain(why));
});

describe('the other instructions', () => {
  it.each([
    ['WORKDIR a b', { kind: 'workdir', word: 'a b' }],
    ['USER a:b', { kind: 'user', word: 'a:b' }],
    ['STOPSIGNAL SIGKILL', { kind: 'stopsignal', word: 'SIGKILL' }],
    ['EXPOSE 80  90/udp', { kind: 'expose', words: ['80', '90/udp'] }],
    ['VOLUME /a /b', { kind: 'volume', words: ['/a', '/b'] }],
    ['VOLUME ["/a b"]', { kind: 'volume', words: ['/a b'] }],
    ['SHELL ["/bin/bash", "-c"]', { kind: 'shell', argv: ['/bin/bash', '-c'] }],
    ['MAINTAINER A <a@b>', { kind: 'maintainer', name: 'A <a@b>' }],
    ['ONBUILD  RUN  a', { kind: 'onbuild', trigger: 'RUN  a' }],
    ['HEALTHCHECK NONE', { kind: 'healthcheck', check: { kind: 'none' } }],
    ['HEALTHCHECK CMD a b', { kind: 'healthcheck', check: { kind: 'command', command: shell('a b') } }],
    [
      'HEALTHCHECK cmd ["a"]',
      { kind: 'healthcheck', check: { kind: 'command', command: { form: 'exec', argv: ['a'] } } },
    ],
    [
      'HEALTHCHECK --interval=5s --timeout=100ms --start-period=1m --start-interval=2s --retries=4 CMD a',
      {
        kind: 'healthcheck',
        check: {
          kind: 'command',
          command: shell('a'),
          intervalMs: 5000,
          timeoutMs: 100,
          startPeriodMs: 60_000,
          startIntervalMs: 2000,
          retries: 4,
        },
      },
    ],
    [
      'HEALTHCHECK --interval=0 --retries=0 CMD a',
      { kind: 'healthcheck', check: { kind: 'command', command: shell('a') } },
    ],
  ])('reads %j', (text, step) => expect(steps(text)).toEqual([step]));

  it('warns of MAINTAINER', () => {
    expect(parse('FROM a\nMAINTAINER b').warnings[0]).toContain('MAINTAINER is deprecated');
  });

  it.each([
    ['SHELL /bin/bash', 'SHELL requires the arguments to be in JSON form'],
    ['SHELL []', 'SHELL requires at least one argument'],
    ['ONBUILD ONBUILD RUN a', "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ['ONBUILD FROM a', "FROM isn't allowed as an ONBUILD trigger"],
    ['ONBUILD maintainer a', "MAINTAINER isn't allowed as an ONBUILD trigger"],
    ['ONBUILD RNU a', 'unknown instruction: RNU'],
    ['ONBUILD COPY a', 'COPY requires at least two arguments'],
    ['ONBUILD RUN', 'RUN requires at least one argument'],
    ['HEALTHCHECK NONE a', 'HEALTHCHECK NONE takes no arguments'],
    ['HEALTHCHECK --retries=1 NONE', 'unknown flag: --retries'],
    ['HEALTHCHECK RUN a', 'unknown type "RUN" in HEALTHCHECK (try CMD)'],
    ['HEALTHCHECK CMD', 'missing command after HEALTHCHECK CMD'],
    ['HEALTHCHECK --interval=soon CMD a', '--interval: "soon" is not a duration'],
    ['HEALTHCHECK --interval=5us CMD a', 'cannot be less than 1ms'],
    ['HEALTHCHECK --retries=-1 CMD a', '--retries: "-1" is no number of tries'],
    ['HEALTHCHECK --intervall=5s CMD a', 'unknown flag: --intervall (did you mean interval?)'],
  ])('refuses %j', (text, why) => expect(wrong(text)).toContain(why));
});
