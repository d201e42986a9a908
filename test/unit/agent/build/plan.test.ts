import { describe, expect, it } from 'vitest';
import { type BuildRequest, planBuild } from '../../../../agent/build/dockerfile/plan.ts';
import { explain, toClusterError } from '../../../../common/errors.ts';
import { dollars, parse } from '../../../support/dockerfile.ts';

const plan = (lines: readonly string[], request: Partial<BuildRequest> = {}) =>
  planBuild(parse(lines.join('\n')), { args: {}, platform: 'linux/amd64', ...request });
function flawOf(lines: readonly string[], request: Partial<BuildRequest> = {}): string {
  try {
    plan(lines, request);
  } catch (cause) {
    expect(toClusterError(cause).code).toBe('invalid');
    return explain(toClusterError(cause));
  }
  return 'nothing is wrong';
}

const DIAMOND = [
  'FROM scratch AS base',
  'FROM base AS left',
  'FROM base AS right',
  'FROM busybox AS unused',
  'RUN --mount=from=unused,target=/x a',
  'FROM scratch AS both',
  'COPY --from=left /a /a',
  'COPY --from=2 /b /b',
];

describe('stages', () => {
  it('that the target does not need are left out', () => {
    expect(plan(DIAMOND.toSpliced(4, 1)).stages.map((stage) => stage.title)).toEqual(['base', 'left', 'right', 'both']);
  });

  it('that need nothing of one another stand on one level', () => {
    expect(plan(DIAMOND.toSpliced(4, 1)).levels).toEqual([[0], [1, 2], [4]]);
  });

  it.each([
    ['left', ['base', 'left']],
    ['LEFT', ['base', 'left']],
    ['1', ['base', 'left']],
    ['0', ['base']],
  ])('for the target %s are %j', (target, titles) => {
    expect(plan(DIAMOND.toSpliced(4, 1), { target }).stages.map((stage) => stage.title)).toEqual(titles);
  });

  it('are needed by FROM, COPY --from and mounts', () => {
    const lines = [
      'FROM a AS x',
      'FROM b AS y',
      'FROM c AS z',
      'FROM x',
      'COPY --from=y a b',
      'RUN --mount=type=cache,target=/c,from=Z d',
    ];
    expect(plan(lines).stages.at(-1)?.needs).toEqual([0, 1, 2]);
  });

  it('without a name are called by their index', () => {
    expect(plan(['FROM a', 'FROM b', 'COPY --from=0 c d']).stages.map((stage) => stage.title)).toEqual([
      'stage-0',
      'stage-1',
    ]);
  });

  it.each([
    [['FROM a', 'FROM scratch'], { kind: 'scratch' }],
    [['FROM a AS b', 'FROM B'], { kind: 'stage', stage: 0 }],
    [['FROM a AS b', 'FROM b:1'], { kind: 'image', image: 'b:1' }],
    [['FROM node AS node', 'FROM node'], { kind: 'stage', stage: 0 }],
    [['FROM node AS node'], { kind: 'image', image: 'node' }],
    [['ARG V=1', 'FROM a:$V'], { kind: 'image', image: 'a:1' }],
    [['ARG V', dollars('FROM a:@{V:-2}')], { kind: 'image', image: 'a:2' }],
    [['ARG B=b', 'FROM a AS b', 'FROM $B'], { kind: 'stage', stage: 0 }],
    [['FROM $TARGETARCH'], { kind: 'image', image: 'amd64' }],
    [['ARG A=1', 'ARG B=$A-2', 'FROM x:$B'], { kind: 'image', image: 'x:1-2' }],
    [['ARG A=1', 'ARG A=2 B=$A', 'FROM x:$B'], { kind: 'image', image: 'x:1' }],
  ])('begin where FROM says: %j', (lines, base) => expect(plan(lines).stages.at(-1)?.base).toEqual(base));

  it('take a build argument for what an ARG before FROM declares', () => {
    expect(plan(['ARG V=1', 'FROM a:$V'], { args: { V: '3' } }).stages[0]?.base).toEqual({
      kind: 'image',
      image: 'a:3',
    });
    expect(plan(['ARG V=1', 'FROM a:$W'], { args: { W: '3' } }).stages[0]?.base).toEqual({
      kind: 'image',
      image: 'a:',
    });
  });

  it.each(['$BUILDPLATFORM', '$TARGETPLATFORM', 'linux/amd64', 'linux/x86_64', 'linux/amd64/v2'])(
    'may say our platform: %s',
    (platform) => {
      expect(plan([`FROM --platform=${platform} a`]).stages).toHaveLength(1);
    },
  );

  it('of another platform that nobody needs do no harm', () => {
    expect(plan(['FROM --platform=linux/arm64 a', 'FROM b']).stages).toHaveLength(1);
  });
});

describe('refusals', () => {
  it.each([
    [['FROM a', 'FROM $X'], 'line 2: base name ($X) should not be blank'],
    [['FROM a AS x', 'COPY --from=x b c'], 'line 2: --from=x is the stage itself'],
    [['FROM a', 'COPY --from=y b c', 'FROM d AS y', 'COPY --from=0 e f'], 'line 2: --from=y comes later, on line 3'],
    [['FROM a', 'COPY --from=7 b c'], 'line 2: there is no stage 7'],
    [['FROM a', 'RUN --mount=from=0,target=/x b'], 'line 2: --from=0 is the stage itself'],
    [['FROM --platform=$X a'], '"" is no platform'],
    [['FROM --platform=linux a'], '"linux" is no platform'],
    [
      ['FROM --platform=linux/arm64 a'],
      'line 1: --platform=linux/arm64 cannot be built here, where programs of linux/amd64 run',
    ],
    [['FROM --platform=windows/amd64 a'], 'cannot be built here'],
    [['ARG A="x', 'FROM a'], 'line 1: unexpected end of statement while looking for matching double-quote'],
    [['FROM a"b'], 'line 1: unexpected end of statement'],
  ])('refuses %j', (lines, why) => expect(flawOf(lines)).toContain(why));

  it.each(['none', '3', '-1', '1.5', '99999999999'])('refuses the target %s', (target) => {
    expect(flawOf(['FROM a AS x', 'FROM b AS y'], { target })).toBe(
      `target: target stage "${target}" could not be found in Dockerfile (stages are x, y)`,
    );
  });
});

describe('build arguments', () => {
  it('that nobody declares are told', () => {
    const args = { X: '1', A: '2', B: '3', HTTP_PROXY: 'p', no_proxy: 'n', SOURCE_DATE_EPOCH: '0', C: '4' };
    expect(plan(['ARG A', 'FROM a', 'ARG B', 'FROM b'], { args }).warnings).toEqual([
      '[Warning] One or more build-args [B C X] were not consumed',
    ]);
  });
});
