import { describe, expect, it } from 'vitest';
import { cacheKey, type KeyParts, type LayerStep } from '../../../../agent/build/dockerfile/cache-key.ts';
import { readySteps } from '../../../support/dockerfile.ts';

/** The key of the last of these lines. */
function key(
  lines: readonly string[],
  more: Partial<KeyParts> = {},
  args: Readonly<Record<string, string>> = {},
): string {
  const { state, step } = readySteps(['FROM scratch', ...lines], args);
  return cacheKey({ parent: 'below', step: step as LayerStep, state, contents: [], ...more });
}

it('is a name for a file', () => expect(key(['RUN a'])).toMatch(/^[0-9a-f]{64}$/));

describe('the same key', () => {
  it.each([
    [['RUN a'], ['', '# x', 'run a']],
    [['RUN a'], ['RUN a \\', '']],
    [
      ['RUN a'],
      [
        'LABEL x=y',
        'EXPOSE 80',
        'CMD b',
        'ENTRYPOINT c',
        'VOLUME /v',
        'HEALTHCHECK NONE',
        'STOPSIGNAL 9',
        'ONBUILD RUN d',
        'MAINTAINER e',
        'RUN a',
      ],
    ],
    [['RUN a'], ['RUN ["/bin/sh", "-c", "a"]']],
    [['ENV x=1', 'COPY a b'], ['COPY a b']],
    [['ENV x=a', 'COPY $x b'], ['COPY a b']],
    [['WORKDIR /w', 'COPY a b'], ['COPY a /w/b']],
    [['USER u', 'COPY a b'], ['COPY a b']],
    [['ARG a=1', 'COPY a b'], ['COPY a b']],
    [['RUN --mount=type=secret,id=x a'], ['RUN --mount=id=x,type=secret a']],
    [
      ['ENV A=1', 'ENV B=2', 'RUN a'],
      ['ENV B=2', 'ENV A=1', 'RUN a'],
    ],
  ])('is %j and %j', (a, b) => expect(key(a)).toBe(key(b)));

  it('has what differs in proxies and secrets only', () => {
    expect(key(['RUN a'], {}, { HTTP_PROXY: 'p' })).toBe(key(['RUN a']));
  });

  it('has a COPY --link upon other layers', () => {
    expect(key(['COPY --link a b'], { parent: 'other' })).toBe(key(['COPY --link a b']));
  });
});

describe('another key', () => {
  it.each([
    [['RUN a'], ['RUN b']],
    [['RUN a'], ['SHELL ["/bin/bash", "-c"]', 'RUN a']],
    [['RUN a'], ['ENV x=1', 'RUN a']],
    [['RUN a'], ['ARG x=1', 'RUN a']],
    [['RUN a'], ['USER u', 'RUN a']],
    [['RUN a'], ['WORKDIR /w', 'RUN a']],
    [['RUN a'], ['RUN --network=none a']],
    [['RUN a'], ['RUN --mount=type=tmpfs,target=/t a']],
    [['RUN --mount=type=cache,target=/t a'], ['RUN --mount=type=cache,target=/t,id=x a']],
    [
      ['RUN <<E', '#!/bin/x', 'E'],
      ['RUN <<E', '#!/bin/y', 'E'],
    ],
    [['COPY a b'], ['ADD a b']],
    [['COPY a b'], ['COPY a b/']],
    [['COPY a b'], ['COPY --chown=1 a b']],
    [['COPY a b'], ['COPY --chmod=600 a b']],
    [['COPY a b'], ['COPY --link a b']],
    [['COPY a b'], ['COPY --exclude=x a b']],
    [['COPY a b'], ['COPY --parents a b']],
    [
      ['COPY <<E /x', '1', 'E'],
      ['COPY <<E /x', '2', 'E'],
    ],
    [['WORKDIR /a'], ['WORKDIR /b']],
    [['ADD --unpack=true a b'], ['ADD a b']],
  ])('is %j and %j', (a, b) => expect(key(a)).not.toBe(key(b)));

  it.each([
    ['the layers below', { parent: 'other' }],
    ['the content', { contents: ['sha256:1'] }],
    ['the epoch', { epochMs: 0 }],
  ])('has what differs in %s', (_, more) => {
    expect(key(['COPY a b'], more)).not.toBe(key(['COPY a b']));
  });

  it('has another value of an ARG that is in force', () => {
    expect(key(['ARG x', 'RUN a'], {}, { x: '1' })).not.toBe(key(['ARG x', 'RUN a'], {}, { x: '2' }));
  });
});
